# %% [markdown] lang="ko"
# # 한눈에 보는 역사
#
# 첫 페이지의 그림입니다. 이야기에 나오는 모델이 저마다 같은 장면 앞에서 무엇을 하는지 보여 줍니다.

# %% [markdown] lang="en"
# # The history at a glance
#
# The pictures of the home page: what each model of the story does in front of the same scene.

# %% name="scene"
import vlm_history as vlm
from vlm_history import plots

reader = plots.language()
scene = vlm.World().sample(seed=11, split="test", kind="pair")

plots.picture(scene.image(), alt=scene.caption(reader), width=192)

# %% name="show-and-tell"
said = vlm.load("show-and-tell").caption(scene.image(), language=reader, beam=3)

plots.picture(scene.image(), alt=scene.caption(reader), caption=plots.say(ko=f"‘{said}’", en=f"“{said}”"), width=192)
