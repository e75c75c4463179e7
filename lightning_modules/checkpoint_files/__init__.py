"""Files and folders of weights as people save them: what they are, and what is inside."""
