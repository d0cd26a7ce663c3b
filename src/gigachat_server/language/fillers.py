"""What questions are filled with in languages that write no spaces, where no word stands alone to be a stop word."""

from __future__ import annotations

import re

from gigachat_server.language.characters import word_set

_FILLERS = word_set(
    """请问 一下 什么 怎么样 怎么 怎样 如何 多少 哪里 哪儿 哪些 哪个 哪种 几点 几个 为什么 是否 可以 能不能 可不可以
        有没有 是不是 需要 我想 我要 我们 你们 您们 他们 知道 告诉 想要 请 吗 呢 吧 啊 呀 了 的 是 在 我 你 您 有 會
        会 能 請問 什麼 怎麼 哪裡 為什麼 嗎 你們 我們 告訴 教えてください 教えて ください でしょうか ありますか
        できますか いますか なりますか しますか ですか ますか ましたか でしたか ません なんですか どのように
        どうやって どうすれば どのくらい どれくらい いくつ いくら どうしたら どこですか どこで どこ いつ なぜ
        どうして 何ですか 何時 何 誰 どんな どの どれ どう もらえますか したい です ます について とは という
        알려주세요 알려 주세요 인가요 있나요 없나요 하나요 되나요 나요 입니까 있습니까 합니까 됩니까 까요 무엇 무슨
        어떻게 어디서 어디 언제 얼마나 얼마 어떤 누가 누구 왜 해요 있어요 예요 이에요 합니다 입니다 อย่างไร
        ยังไง เท่าไหร่ เท่าไร อะไร ที่ไหน เมื่อไหร่ เมื่อไร
        หรือไม่ หรือเปล่า ไหม มั้ย ครับ ค่ะ คะ ใคร ทำไม กี่ ขอ
        หน่อย ช่วย บอก ได้ ต้องการ อยาก คือ ใด"""
)
_STARTS = "".join(sorted({filler[0] for filler in _FILLERS}))
_FILLER = re.compile(f"(?=[{_STARTS}])(?:{'|'.join(sorted(map(re.escape, _FILLERS), key=len, reverse=True))})")


def without_fillers(run: str) -> list[str]:
    """What is left of a run of characters, in pieces."""
    return [piece for piece in _FILLER.split(run) if piece]
