"""Showing what autoencoders did to clips: side-by-side videos, stills, pages to read in a browser."""

from vidlatent.report.columns import Column as Column
from vidlatent.report.columns import columns_of as columns_of
from vidlatent.report.evaluation import write_evaluation_page as write_evaluation_page
from vidlatent.report.one_clip import clip_page as clip_page
from vidlatent.report.panels import Panels as Panels
from vidlatent.report.stills import Stills as Stills
