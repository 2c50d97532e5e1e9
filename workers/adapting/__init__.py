"""Training of LoRA adapters, and what they make of a model, in torch: the only importer of peft.

Nothing here is imported before an adapter is to be trained; `pip install 'sluice[adapt]'` brings what it needs.
"""
