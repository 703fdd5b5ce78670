"""What the machine, the process tree and the database did while each test ran."""
