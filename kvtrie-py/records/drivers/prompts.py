"""Prompts that share prefixes, as those of chats and of few-shot templates do."""

import random


class Prompts:
    """A growing set of prompts, from which new ones take their beginning."""

    def __init__(self, rng: random.Random, longest: int, tokens: int = 40) -> None:
        self.rng = rng
        self.longest = longest
        self.tokens = tokens
        self.known: list[list[int]] = [[]]

    def draw(self) -> list[int]:
        """Returns a prompt: the beginning of a known one, and usually some new tokens."""
        known = self.rng.choice(self.known)
        start = known[: self.rng.randint(0, len(known))] if self.rng.random() < 0.7 else known
        prompt = (start + self.more(self.rng.choice((0, 1, 5, 13))))[: self.longest]
        return prompt or self.more(3)

    def more(self, n: int) -> list[int]:
        """Returns `n` random tokens."""
        return [self.rng.randrange(self.tokens) for _ in range(n)]

    def learn(self, prompt: list[int]) -> None:
        """Lets later prompts begin as this one does. Forgets another one now and then."""
        self.known.append(prompt[: self.longest - 8])
        if len(self.known) > 24:
            self.known.pop(self.rng.randrange(1, 12))
