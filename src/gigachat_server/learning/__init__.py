"""What a support team learns from: unanswered prompts in groups, fixed answers, and replays of stored prompts."""
