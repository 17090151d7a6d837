"""Images with weights inside: layers streamed from the model's own files to wherever they are wanted."""
