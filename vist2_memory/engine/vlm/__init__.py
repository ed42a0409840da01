"""Stock vision-language models as engines of visual memory: one adapter a family."""
