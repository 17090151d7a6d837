"""What bakes cost on this machine, beside what others do: run by make bench-bake, not by pytest."""
