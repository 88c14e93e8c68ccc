"""Small trainings that a chapter shows: they answer a question, and ship no weights."""
