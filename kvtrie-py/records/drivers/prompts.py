"""Prompts that share prefixes, as those of chats and of few-shot templates do."""

import random


class Prompts:
    """A changing set of prompts, from which new ones take their beginning."""

    def __init__(self, rng: random.Random, longest: int, page_size: int, tokens: int = 40) -> None:
        self.rng = rng
        self.longest = longest
        self.page_size = page_size
        self.tokens = tokens
        self.known = [self.more(3 * page_size) for _ in range(3)]

    def draw(self) -> list[int]:
        """Returns a prompt: the beginning of a known one, and usually some new tokens."""
        known = self.rng.choice(self.known)
        start = known[: self.rng.randint(0, len(known))] if self.rng.random() < 0.4 else known
        new = self.rng.choice((0, 1, self.page_size + 1, 3 * self.page_size))
        prompt = (start + self.more(new))[: self.longest]
        return prompt or self.more(3)

    def more(self, n: int) -> list[int]:
        """Returns `n` random tokens."""
        return [self.rng.randrange(self.tokens) for _ in range(n)]

    def learn(self, prompt: list[int]) -> None:
        """Lets later prompts begin as this one does, and forgets another one."""
        self.known.append(prompt[: self.longest - self.page_size])
        if len(self.known) > 12:
            self.known.pop(self.rng.randrange(8))
