"""Networks that are not ours, by reference: those of timm, torchvision and transformers, and of users' own code."""
