# %% [markdown] lang="ko"
# # 한눈에 보는 역사
#
# 첫 페이지의 그림입니다. 이야기에 나오는 모델이 저마다 같은 장면 앞에서 무엇을 하는지 보여 줍니다.

# %% [markdown] lang="en"
# # The history at a glance
#
# The pictures of the home page: what each model of the story does in front of the same scene.

# %% name="scene"
import torch

import vlm_history as vlm
from vlm_history import plots
from vlm_history.images import read_images
from vlm_history.plots.attention import spotlight
from vlm_history.plots.recurrent import no_picture
from vlm_history.world.pointing import named

reader = plots.language()
scene = vlm.World().sample(seed=11, split="test", kind="pair")

plots.picture(scene.image(), alt=scene.caption(reader), width=192)

# %% name="cnn"
cnn = vlm.load("cnn")
config = cnn.config.cnn
with torch.no_grad():
    places = cnn.places(read_images(scene.image(), size=config.image_size, mean=config.mean, std=config.std))
likeliest = places[0].softmax(-1).amax((0, 1)).topk(2).indices  # wherever in the picture
labels = " · ".join(cnn.config.names[i][("ko", "en").index(reader)] for i in likeliest)

plots.picture(scene.image(), alt=scene.caption(reader), caption=labels, width=192)

# %% name="lstm"
written = vlm.load("lstm").sample(language=reader, generator=torch.Generator().manual_seed(4))[0]

plots.show(
    no_picture(era="connect"),
    alt=plots.say(ko="그림이 없는 카드", en="a card without a picture"),
    caption=plots.say(ko=f"‘{written}’", en=f"“{written}”"),
)

# %% name="show-and-tell"
said = vlm.load("show-and-tell").caption(scene.image(), language=reader, beam=3)

plots.picture(scene.image(), alt=scene.caption(reader), caption=plots.say(ko=f"‘{said}’", en=f"“{said}”"), width=192)

# %% name="show-attend-and-tell"
said, looks = vlm.load("show-attend-and-tell").caption(scene.image(), language=reader, beam=3, return_attention=True)
names = named(looks, reader, vlm.World().reader)
picture = spotlight(scene.image(), names[0].look) if names else scene.image()

plots.picture(picture, alt=scene.caption(reader), caption=plots.say(ko=f"‘{said}’", en=f"“{said}”"), width=192)

# %% name="gpt-1"
beginning = plots.say(
    ko="옛날에 고양이 한 마리가 있었습니다. 고양이는 목이 말랐습니다.",
    en="once upon a time there was a cat. the cat was thirsty.",
)
written = vlm.load("gpt-1").write(beginning, temperature=0.5, generator=torch.Generator().manual_seed(0))

plots.show(
    no_picture(era="pretrain"),
    alt=plots.say(ko="그림이 없는 카드", en="a card without a picture"),
    caption=plots.say(ko=f"‘{written}’", en=f"“{written}”"),
)
