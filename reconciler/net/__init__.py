"""The only HTTP exit of the program: client, egress at connect time, redaction."""
