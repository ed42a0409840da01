"""VIST2 checkpoints that vLLM decodes: in this process, or on a server elsewhere.

Tower and aligner run here in torch. A memory is sent to vLLM as embeddings (``prompt_embeds``); a
fold is the next request, whose beginning vLLM finds in its prefix cache.
"""
