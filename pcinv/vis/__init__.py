"""Looking at clouds: a scene of plain data, and what draws it: window, web page, picture, file."""
