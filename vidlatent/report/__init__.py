"""Showing what an autoencoder did to a clip: side-by-side videos, stills, a page to read in a browser."""

from vidlatent.report.page import clip_page as clip_page
from vidlatent.report.panels import Panels as Panels
from vidlatent.report.stills import Stills as Stills
