"""`ttsnap label`: the finetuning targets of a shard, i.e. the base reward of every final image."""

from ttsnap.commands.device_options import pick_device
from ttsnap.commands.reward_options import check_reward, open_reward
from ttsnap.commands.score import ForShard
from ttsnap.errors import BadInput
from ttsnap.storage.image_shards import read_shard
from ttsnap.storage.scores import write_scores


def run(options: ForShard) -> dict:
    """Score the final images; return their mean reward."""
    shard = read_shard(options.images)
    if shard.of_drafts:
        raise BadInput(f"{options.images}: holds drafts, not final images; label the images of the full runs")
    check_reward(options)
    from ttsnap.rewards.scoring import score_shard

    reward = open_reward(options, pick_device(options))
    scores = score_shard(reward, shard, shard.looks[-1:], name=options.called, batch_size=options.batch_size)
    write_scores(options.out, scores)
    return {"steps": scores.looks, "mean": scores.values.mean((0, 1)).tolist()}
