"""The load on a large ledger: each connection goes on with another session each time, so that nothing stays warm."""

from bench.client import Chain, generation


class Walk(Chain):
    """Rotates many families in turn."""

    def __init__(self, tokens: list[bytes]) -> None:
        super().__init__(tokens[0])
        self._tokens = tokens
        self._place = 0
        self.rotated = 0

    def answered(self, answer: bytes) -> None:
        """As for one chain; then the next family's turn."""
        super().answered(answer)
        self._tokens[self._place] = self.token
        self._place = (self._place + 1) % len(self._tokens)
        self.token = self._tokens[self._place]
        self._generation = generation(self.token)
        self.rotated += 1
