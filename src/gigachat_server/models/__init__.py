"""AI models and embedders, behind two protocols."""
