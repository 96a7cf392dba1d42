"""Does tutoring raise a test score? A regression with a treatment, as a plain NumPyro model.

Keywords are columns of the record; each defaults to None, and then the site is drawn.
"""

import numpyro
import numpyro.distributions as dist


def model(tutoring=None, score=None):
    """Pupils' scores with and without tutoring."""
    ability = numpyro.sample("ability", dist.Normal(50.0, 10.0))
    effect = numpyro.sample("effect", dist.Normal(0.0, 10.0))
    spread = numpyro.sample("spread", dist.HalfNormal(10.0))
    with numpyro.plate("pupils", 1 if score is None else len(score)):
        treated = numpyro.sample("tutoring", dist.Bernoulli(0.5), obs=tutoring)
        numpyro.sample("score", dist.Normal(ability + effect * treated, spread), obs=score)
