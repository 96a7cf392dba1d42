"""What is taken where nobody says otherwise: each default stands here once, for Python and for the command line."""

INTERVAL = 0.89  # probability of every equal-tailed interval; no round number, as no limit of it is special

# of a fit
CHAINS = 4
WARMUP = 1000  # per chain
DRAWS = 1000  # per chain
TARGET_ACCEPT = 0.95

# of a comparison
COMPARED_DRAWS = 500  # of the parameters
HOSTED_DRAWS = 24  # where a policy decides in Python, which takes long
HORIZON = 20  # periods
