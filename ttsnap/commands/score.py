"""`ttsnap score`: read every Tweedie image of a shard with one reward."""

from pydantic import Field
from pydantic_settings import CliPositionalArg

from ttsnap.commands.device_options import OnDevice, pick_device
from ttsnap.commands.options import Command, InFile, OutFile
from ttsnap.commands.reward_options import ForReward, check_reward, open_reward
from ttsnap.settings.section import Positive
from ttsnap.storage.image_shards import read_shard
from ttsnap.storage.scores import write_scores


class ForShard(Command, ForReward, OnDevice):
    """The images to read, and the reward."""

    images: CliPositionalArg[InFile] = Field(description="image shard (HDF5)")
    out: OutFile = Field(description="score file (HDF5)")
    batch_size: Positive = Field(64, description="images at once")


class ScoreOptions(ForShard):
    """The images to read, the reward and its levels."""

    checkpoint: list[InFile] = Field(
        [], description="level checkpoint to read its step with; repeatable; default: the base reward at every step"
    )


def run(options: ScoreOptions) -> dict:
    """Score the shard; return the mean reward of each step."""
    shard = read_shard(options.images)
    check_reward(options)
    from ttsnap.rewards.scoring import levels_for, score_shard

    device = pick_device(options)
    levels = levels_for(shard, options.checkpoint)
    reward = open_reward(options, device)
    scores = score_shard(reward, shard, levels=levels, name=options.called, batch_size=options.batch_size)
    write_scores(options.out, scores)
    return {"steps": scores.looks, "mean": scores.values.mean((0, 1)).tolist()}
