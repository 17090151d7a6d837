"""The only code that touches the world: Docker, disk, network, processes, the clock."""
