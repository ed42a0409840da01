"""Ask questions about a folder of text files, more of them than a model can read at once.

Run it with ``python examples/rag_over_a_folder.py FOLDER "A question?"``, or without arguments over
a small handbook that it writes itself. What is read is chosen for each question, cached as visual
tokens, and cited. The bundled model is very small: judge it by its citations.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import closing
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate

from langchain_vist2 import ChatVIST2, VisualDocuments

BUDGET = 64
"""Visual tokens of documents that one question may read."""
ROOMS = ("cellar", "kitchen", "library", "attic", "workshop", "greenhouse")
HANDBOOK = {
    f"{room}.txt": f"The {room}. "
    + f"The key of the {room} is number {number}, and hangs by the front door. "
    + f"The {room} is swept on Mondays, and aired when the weather is dry. " * 12
    for number, room in enumerate(ROOMS, 11)
}
QUESTIONS = ("What is the number of the key of the library?", "When is the attic swept?")


def main(folder: Path | None = None, questions: tuple[str, ...] = QUESTIONS) -> None:
    with tempfile.TemporaryDirectory() as made:
        if folder is None:
            folder = Path(made) / "handbook"
            folder.mkdir()
            for name, text in HANDBOOK.items():
                (folder / name).write_text(text, encoding="utf-8")
        store = f"sqlite:///{Path(made) / 'memory.db'}"
        with closing(ChatVIST2(store=store, max_tokens=40)) as llm:
            ask(llm, folder, questions)


def ask(llm: ChatVIST2, folder: Path, questions: tuple[str, ...]) -> None:
    documents = VisualDocuments(llm.memory, name="folder")
    files = [path for path in sorted(folder.rglob("*.txt")) if path.read_text("utf-8").strip()]
    documents.add_documents(  # what is there already is passed over
        Document(path.read_text("utf-8"), id=str(path.relative_to(folder))) for path in files
    )
    every = documents.stuff(10**9)
    print(
        f"{len(files)} files, {every.text_tokens} text tokens, kept as {every.visual_tokens} "
        f"visual tokens; {BUDGET} are read for a question"
    )
    prompt = ChatPromptTemplate.from_messages([("human", "{question}")])
    chain = prompt | documents.stuffing(llm, BUDGET)
    for question in questions:
        answer: AIMessage = chain.invoke({"question": question})
        print(f"\n{question}\n{answer.text}")
        for cited in answer.response_metadata["citations"]:
            place = f"{cited['start_index']} to {cited['end_index']}"
            print(f"  read: {cited['document_id']}, characters {place}")

    found = documents.as_retriever(k=2).invoke(questions[0])
    print("\nA retriever finds:")
    for passage in found:
        print(f"  {passage.metadata['document_id']}: {passage.page_content!r}")


if __name__ == "__main__":
    _, *arguments = sys.argv
    if arguments:
        main(Path(arguments[0]), tuple(arguments[1:]) or QUESTIONS)
    else:
        main()
