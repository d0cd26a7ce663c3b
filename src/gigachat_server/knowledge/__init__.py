"""What a chatbot knows: documents, the files and sites they come from, and searching them."""
