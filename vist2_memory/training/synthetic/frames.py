"""What stands around a clause: openings and closings of statements, questions and answers.

{s} is a clause in the middle of a sentence, {S} one that begins a sentence; {d} is a direct
question without its mark, {D} the same at the start, {b} an indirect one.
"""

from __future__ import annotations

from vist2_memory.training.synthetic.dialogue import Split

STATE: dict[Split, tuple[str, ...]] = {
    "train": (
        "{S}.",
        "{S}.",
        "{S}.",
        "{S}.",
        "{S}.",
        "{S}!",
        "By the way, {s}.",
        "Just so you know, {s}.",
        "Please remember that {s}.",
        "You should know that {s}.",
        "Oh, and {s}.",
        "For later: {s}.",
        "I meant to tell you that {s}.",
        "Note this down: {s}.",
        "{S}, by the way.",
        "{S}, you know.",
        "Before I forget: {s}.",
        "Keep in mind that {s}.",
        "Did I tell you that {s}?",
        "I should say that {s}.",
        "Remember: {s}.",
        "As you may know, {s}.",
        "It turns out that {s}.",
        "I just heard that {s}.",
        "Please keep this: {s}.",
        "Something to remember: {s}.",
        "Also, {s}.",
        "And {s}.",
        "I think I never said it, but {s}.",
        "It may be of use later that {s}.",
        "Well, {s}.",
        "So, {s}.",
    ),
    "heldout": (
        "{S}.",
        "{S}.",
        "{S}.",
        "One more thing: {s}.",
        "I want you to know that {s}.",
        "So that you have it: {s}.",
        "And just to say it, {s}.",
        "{S}, so please keep that.",
        "Here is something: {s}.",
        "You may need this later: {s}.",
    ),
}

TELL: dict[Split, tuple[str, ...]] = {
    "train": (
        "{S}.",
        "{S}.",
        "{S}.",
        "Done: {s}.",
        "Good news: {s}.",
        "All right, {s}.",
        "Of course. {S}.",
        "I looked into it, and {s}.",
        "Gladly. {S}.",
        "Let me see. {S}.",
        "Yes, {s}.",
        "I have an answer: {s}.",
        "No problem, {s}.",
        "Well, {s}.",
        "Sure, {s}.",
    ),
    "heldout": (
        "{S}.",
        "{S}.",
        "It is done: {s}.",
        "Here you go: {s}.",
        "I have looked, and {s}.",
        "Yes, of course: {s}.",
    ),
}

CHANGE: dict[Split, tuple[str, ...]] = {
    "train": (
        "Actually, {s}.",
        "Actually, that has changed: {s}.",
        "Correction: {s}.",
        "I was wrong before: {s}.",
        "That is old news, {s} now.",
        "Update: {s}.",
        "Forget what I said before: {s}.",
        "Things have changed: {s}.",
        "There has been a change: {s}.",
        "Sorry, I got that wrong earlier: {s}.",
        "It is different now: {s}.",
        "No longer true what I said, {s}.",
        "I have to correct myself: {s}.",
        "Not {old} any more: {s}.",
        "Since today, {s}.",
        "I told you {old}, but now {s}.",
    ),
    "heldout": (
        "One change: {s}.",
        "That is not right any more, {s}.",
        "What I told you before was wrong: {s}.",
        "From now on, {s}.",
        "I said {old}, but that is no longer true: {s}.",
    ),
}

ASK: dict[Split, tuple[str, ...]] = {
    "train": (
        "{D}?",
        "{D}?",
        "{D}?",
        "{D}?",
        "{D}?",
        "{D}?",
        "{D}?",
        "{D}?",
        "Quick question: {d}?",
        "By the way, {d}?",
        "{D}, please?",
        "Tell me, {d}?",
        "One more question: {d}?",
        "I have a question. {D}?",
        "Remind me: {d}?",
        "So, {d}?",
        "{D} again?",
        "Hello again. {D}?",
        "Let me think, {d}?",
        "I forgot something. {D}?",
        "Sorry, {d}?",
        "And {d}?",
        "Hey, {d}?",
        "Do you remember? {D}?",
        "Now, {d}?",
        "Please tell me: {d}?",
        "{d}",
        "{d}?",
    ),
    "heldout": (
        "{D}?",
        "{D}?",
        "{D}?",
        "{D}?",
        "Just a question: {d}?",
        "Let me ask you something. {D}?",
        "I wonder, {d}?",
        "Well, {d}?",
        "Can you help me? {D}?",
        "Before I go: {d}?",
        "{d}?",
    ),
}

ASK_ABOUT: dict[Split, tuple[str, ...]] = {
    "train": (
        "Do you remember {b}?",
        "Do you know {b}?",
        "Can you tell me {b}?",
        "Could you tell me {b}, please?",
        "Tell me {b}.",
        "Please tell me {b}.",
        "I forgot {b}. Do you know?",
        "I can't remember {b}.",
        "Remind me {b}.",
        "Do you still know {b}?",
        "I would like to know {b}.",
        "Can you remind me {b}?",
        "I told you {b}, what was it?",
        "Do you recall {b}?",
        "Would you tell me {b}?",
        "You know {b}, right?",
        "I need to know {b}.",
        "I have forgotten {b}.",
        "Tell me again {b}.",
    ),
    "heldout": (
        "Let me know {b}.",
        "I want to know {b}.",
        "Please say {b}.",
        "Can you remember {b}?",
        "Could you say again {b}?",
        "I should know {b}, but I forgot.",
        "Help me remember {b}.",
    ),
}
TOLD_ABOUT = ("I told you", "You know")
"""Openings that do not fit what the assistant said, or what was never said."""

NOUN_REMIND = ("Remind me {b}.", "Can you remind me {b}?")
"""Frames that take "of" before a noun phrase."""

UNKNOWN = (
    "I don't know {b}.",
    "I don't know {b}.",
    "I don't know {b}.",
    "Sorry, I don't know {b}.",
    "I'm sorry, but I don't know {b}.",
    "I don't know {b}, you never told me.",
)

ACK = (
    "Noted.",
    "Got it.",
    "I will remember that.",
    "Thank you, I have it.",
    "All right.",
    "Good to know.",
    "I will keep that in mind.",
    "Thanks for telling me.",
    "Understood.",
    "Very well.",
    "I have made a note of it.",
    "That is noted.",
    "Okay, I won't forget it.",
    "Fine.",
    "Ah, good to know.",
    "Okay.",
    "I see, thank you.",
)
ECHO = (
    "Noted: {s}.",
    "I see, {s}.",
    "All right, {s}.",
    "Got it. {S}.",
    "So {s}. Good to know.",
    "Okay: {s}.",
)
SHORT: dict[Split, tuple[str, ...]] = {
    "train": (
        "{v}.",
        "{v}.",
        "It's {v}.",
        "That would be {v}.",
        "{v}, I think.",
        "{v}, why?",
        "Oh, {v}.",
        "The answer is {v}.",
    ),
    "heldout": ("{v}.", "It is {v}.", "That is {v}.", "{v}, of course."),
}
