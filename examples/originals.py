# %% [markdown] lang="ko"
# # 원본과 견주기
#
# 이 책의 모델과 기준 라이브러리의 모델에 같은 가중치와 같은 입력을 넣고, 결과가 얼마나 다른지 잽니다.

# %% [markdown] lang="en"
# # Held to the originals
#
# The models of this book and those of the reference libraries, given the same weights and the same input.

# %% name="setup" tags=["quiet"]
import open_clip

from vlm_history import plots
from vlm_history.plots import say
from vlm_history.published import parity
from vlm_history.published.gpt import to_library
from vlm_history.text import CLIPTokenizer
from vlm_history.training.recipes.clip import tokenizer
from vlm_history.world import World

# %% name="counts"
counted = list(parity.counts())
assert all(each.ours == each.theirs for each in counted)

plots.table(
    [say(ko="이름", en="name"), say(ko="이 책", en="here"), say(ko="원본", en="original"), say(ko="누구", en="whose")],
    [[each.name.split("/")[-1], f"{each.ours:,}", f"{each.theirs:,}", each.library] for each in counted],
    caption=say(ko="매개변수의 수", en="Numbers of parameters"),
    numbers={"models": len(counted)},
)

# %% name="gaps"
held = list(parity.held())
outputs = {
    "states": say(ko="상태", en="states"),
    "logits": say(ko="로짓", en="logits"),
    "image and text vectors, logits": say(ko="그림과 글의 벡터, 로짓", en="image and text vectors, logits"),
    "noise, latents, pictures, words": say(ko="잡음, 잠재 벡터, 그림, 낱말", en="noise, latents, pictures, words"),
}
plots.table(
    [say(ko="구조", en="architecture"), say(ko="원본", en="original"), say(ko="견준 것", en="what"),
     say(ko="가장 큰 차이", en="largest difference"), say(ko="가장 큰 값", en="largest value")],
    [[each.architecture, each.library, outputs[each.outputs], f"{each.gap:.1e}", f"{each.largest:.1f}"]
     for each in held],
    caption=say(ko="같은 가중치, 같은 입력에서 나온 결과", en="Outputs, given the same weights and the same input"),
    numbers={"largest": max(each.gap for each in held), "batch": parity.BATCH},
)  # fmt: skip

# %% name="tokens"
world = World()
scenes = [world.sample(seed) for seed in range(500)]
texts = [caption for scene in scenes for language in ("ko", "en") for caption in scene.captions(language)]
texts += ["🍎와 🐈‍⬛", "é e\u0301 ﬁ ㄱㅏ 각", "don't  stop\n\n말아요…", "\u200b٣५ 𝕏"]
ours, theirs = tokenizer(), to_library(tokenizer())
clips, openais = CLIPTokenizer(), open_clip.get_tokenizer("ViT-B-32")
unequal = {
    "BytePairTokenizer": sum(ours.encode(text) != theirs.encode(text).ids for text in texts),
    "CLIPTokenizer": sum(clips.encode(text) != openais.encode(text) for text in texts),
}
plots.values(
    "\n".join(f"{name:18} {len(texts):,} / {count}" for name, count in unequal.items()),
    texts=len(texts), unequal=sum(unequal.values()),
)  # fmt: skip
