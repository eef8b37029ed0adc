"""Video autoencoders: one class, a catalogue of presets, a folder a family."""

from vidlatent.autoencoders.base import Autoencoder as Autoencoder
from vidlatent.autoencoders.catalog import build as build
from vidlatent.autoencoders.catalog import models as models
from vidlatent.autoencoders.posterior import Posterior as Posterior
from vidlatent.autoencoders.spec import LatentSpec as LatentSpec
