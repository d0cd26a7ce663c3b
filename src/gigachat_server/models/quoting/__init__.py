"""What of a few passages answers a prompt, and how it is said: pure, but for the vectors that others hand in.

`lines` tells what a line is, `parse` makes statements of a passage, `asked` tells what kind of answer a prompt wants, `score`
says how well each statement answers, `compose` chooses and orders what is said, `render` makes the reply of it.
"""
