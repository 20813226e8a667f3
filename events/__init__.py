"""The past: facts and their folds, the ledger that appends them, projections, readers, the Merkle log.

Knows no rule and imports nothing else of ours.
"""
