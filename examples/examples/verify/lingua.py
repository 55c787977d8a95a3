# usage: lingua.py FOLDER. Reads passages.json there; writes tokenizers of both families trained on it, a table of probabilities, and what the
# public llmlingua package makes of the passages with a stand-in model that looks its logits up in the table.
import json, os, sys, time
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from llmlingua import PromptCompressor

torch.set_num_threads(1)
folder = sys.argv[1]
passages = json.load(open(folder + "/passages.json"))
N = 65536
h = (torch.arange(N).float() + 0.5) / N
logits = torch.stack([torch.log1p(-h), torch.log(h)], -1)
F.softmax(logits[None], dim=-1)[0, :, 1].contiguous().numpy().astype("<f4").tofile(folder + "/table.f32")


class Count:
    def encode(self, text, **_):
        return text.split()


class Stand_in:
    spent = 0.0

    def resize_token_embeddings(self, n):
        pass

    def __call__(self, input_ids, attention_mask):
        start = time.perf_counter()
        position = torch.arange(input_ids.shape[1])[None]
        out = type("Out", (), {})()
        out.loss = None
        out.logits = logits[(input_ids.long() * 2654435761 + position * 40503) % N]
        self.spent += time.perf_counter() - start
        return out


def word_piece():
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=False)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    t.train_from_iterator(passages, trainers.WordPieceTrainer(vocab_size=8000, special_tokens=special, show_progress=False))
    return t, dict(pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")


def unigram():
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    t.decoder = decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    t.train_from_iterator(passages, trainers.UnigramTrainer(vocab_size=8000, special_tokens=special, unk_token="<unk>", show_progress=False))
    return t, dict(bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", cls_token="<s>", sep_token="</s>", mask_token="<mask>")


def config(i):
    forced = [[], ["\n", ".", "!", "?"], [".", ",", "New York", "the"]][i // 3 % 3]
    c = dict(rate=[0.33, 0.5, 0.7][i % 3], force_tokens=forced, force_reserve_digit=i // 9 % 2 == 1, drop_consecutive=i // 18 % 2 == 1)
    n = [1, 1, 3, 1, 10][i % 5]
    c["use_context_level_filter"] = n > 1 and i % 2 == 0
    c["target_token"] = 40 * n if i % 7 == 3 else -1
    c["token_to_word"] = "first" if i % 11 == 5 else "mean"
    return c, n


with open(folder + "/cases.jsonl", "w") as out:
    for family, make, name in [("wordpiece", word_piece, "bert-base-multilingual-cased"), ("unigram", unigram, "xlm-roberta-large")]:
        t, names = make()
        t.save(f"{folder}/{family}.json")
        p = PromptCompressor.__new__(PromptCompressor)
        p.model_name, p.device, p.oai_tokenizer, p.model = name, "cpu", Count(), Stand_in()
        p.tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{folder}/{family}.json", **names)
        p.init_llmlingua2()
        total = 0.0
        for i in range(len(passages)):
            c, n = config(i)
            which = [(i + j) % len(passages) for j in range(n)]
            start = time.perf_counter()
            try:
                r = p.compress_prompt_llmlingua2([passages[j] for j in which], return_word_label=True, **c)
            except (IndexError, ValueError, ZeroDivisionError) as e:
                r = dict(error=repr(e))
            total += time.perf_counter() - start
            out.write(json.dumps(dict(family=family, config=c, contexts=which, result=r)) + "\n")
        out.write(json.dumps(dict(family=family, seconds=total - p.model.spent)) + "\n")
