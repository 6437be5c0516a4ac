"""What commands are made of, whoever does them: arguments, replies, errors, and the table."""
