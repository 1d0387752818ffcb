"""Floor 4: who stands beside the agents: what they are asked, what they allow, whom they trust."""
