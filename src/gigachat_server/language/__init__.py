"""What gigachat knows of languages: words, terms, sentences, small talk, who asks for a person, and what it says itself.

All of it is pure, and takes time linear in its input, whatever that is: documents and prompts come from strangers.
"""
