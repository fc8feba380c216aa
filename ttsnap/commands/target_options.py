"""The options for target images: a labelled data set, or pairs of image and prompt."""

from pydantic import Field

from ttsnap.commands.options import InFile, InFolder, refuse_beside
from ttsnap.errors import BadInput
from ttsnap.settings.datasets import BUNDLED, DataSet
from ttsnap.settings.section import Positive, Section
from ttsnap.settings.sft import First, ImageField, PromptField, SplitTaken


class InFolderOfData(Section):
    """The folder of a labelled data set."""

    folder: InFolder | None = Field(
        None, description="folder of the data set's files; default: where `ttsnap download` puts them"
    )


class ForDataSet(InFolderOfData):
    """The labelled data set to train on."""

    data: DataSet = Field(BUNDLED, description="labelled data set")


class ForTargets(InFolderOfData):
    """The targets, or a part of them."""

    data: DataSet | None = Field(None, description="labelled data set")
    split: SplitTaken
    pairs: InFile | None = Field(None, description='pairs.jsonl: lines {"prompt": …, "image": relative path}')
    data_root: InFolder | None = Field(None, description="folder of the images; default: that of pairs.jsonl")
    prompt_field: PromptField
    image_field: ImageField
    start_index: First
    limit: Positive | None = Field(None, description="number of targets; default: all")


def open_targets(options: ForTargets):
    """An iterator over the targets, and the lines that gave none (Failure)."""
    from ttsnap.sft.data import load_images
    from ttsnap.sft.targets import labelled_targets, pair_targets

    if (options.data is None) == (options.pairs is None):
        raise BadInput("give either --data or --pairs")
    part = {"start": options.start_index, "limit": options.limit}
    if options.data:
        refuse_beside(options, "with --data", "data_root", "prompt_field", "image_field")
        return labelled_targets(load_images(options.data, options.folder, options.split), **part)
    refuse_beside(options, "with --pairs", "folder", "split")
    fields = options.model_dump(include={"prompt_field", "image_field"})
    return pair_targets(options.pairs, options.data_root, **fields, **part)
