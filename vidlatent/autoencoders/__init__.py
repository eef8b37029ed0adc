"""Video autoencoders: one class, a catalogue of presets, a folder a family."""

from vidlatent.autoencoders.base import Autoencoder as Autoencoder
from vidlatent.autoencoders.catalog import build as build
from vidlatent.autoencoders.catalog import models as models
from vidlatent.autoencoders.checkpoint import load_checkpoint as load_checkpoint
from vidlatent.autoencoders.checkpoint import save_checkpoint as save_checkpoint
from vidlatent.autoencoders.diffusers_format import save_pretrained as save_pretrained
from vidlatent.autoencoders.loading import load as load
from vidlatent.autoencoders.planning import plan as plan
from vidlatent.autoencoders.posterior import Posterior as Posterior
from vidlatent.autoencoders.spec import LatentSpec as LatentSpec
