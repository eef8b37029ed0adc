"""Measures of reconstruction: functions of clips, and accumulators for clips that come in slabs."""

from vidlatent.metrics.pca import PatchPCA as PatchPCA
from vidlatent.metrics.quality import PSNR as PSNR
from vidlatent.metrics.quality import SSIM as SSIM
from vidlatent.metrics.quality import frame_psnr as frame_psnr
from vidlatent.metrics.quality import frame_ssim as frame_ssim
from vidlatent.metrics.quality import psnr as psnr
from vidlatent.metrics.quality import ssim as ssim
