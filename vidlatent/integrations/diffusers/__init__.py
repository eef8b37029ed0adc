"""diffusers' pipelines with our autoencoders in them: the same weights, the same video, in a budget of memory."""

from vidlatent.errors import MissingDependency

try:
    import diffusers as _diffusers  # noqa: F401
except ImportError as error:
    raise MissingDependency("diffusers", "diffusers") from error

from vidlatent.integrations.diffusers.adopt import adopt as adopt
from vidlatent.integrations.diffusers.adopt import from_diffusers as from_diffusers
