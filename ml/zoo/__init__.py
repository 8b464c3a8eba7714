"""The zoo: every model that is compared on the leaderboard, one file a family, behind `candidate.Candidate`."""
