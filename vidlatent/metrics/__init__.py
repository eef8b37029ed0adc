"""Measures of reconstruction."""

from vidlatent.metrics.pca import PatchPCA as PatchPCA
from vidlatent.metrics.quality import psnr as psnr
