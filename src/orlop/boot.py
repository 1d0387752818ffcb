"""Power on.  The one file that knows every floor; read it as the table of contents."""
