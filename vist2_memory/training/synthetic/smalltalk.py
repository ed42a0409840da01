"""Small talk between the user and the assistant: exchanges made from parts, holding no facts.

A topic has things that the user says and things that the assistant replies; slots in angle
brackets are filled at random, so that an exchange hardly ever comes twice.
"""

from __future__ import annotations

import random
import re

_SLOT = re.compile(r"<(\w+)>")

_SLOTS: dict[str, tuple[str, ...]] = {
    name: tuple(part.strip() for part in text.split(","))
    for name, text in {
        "when": "today, this morning, last night, yesterday, this afternoon, the other day",
        "good": "lovely, wonderful, pleasant, quiet, bright, fine, splendid, happy, calm, "
        "cheerful, gentle, delightful ",
        "bad": "dreadful, tiring, gloomy, strange, noisy, dull, awful, difficult, endless, sad, "
        "miserable, messy ",
        "very": "rather, quite, very, so, really, terribly, a little, unusually, surprisingly",
        "sky": "rain, snow, fog, wind, sunshine, thunder, hail, drizzle, frost, heat",
        "plant": "roses, tomatoes, tulips, beans, apple trees, ferns, herbs, sunflowers, lilies, "
        "cabbages, pear trees ",
        "animal": "fox, squirrel, heron, hedgehog, blackbird, deer, owl, toad, magpie, butterfly, "
        "hare, woodpecker ",
        "object": "kettle, lamp, window, clock, washing machine, "
        "printer, radio, chair, gate, oven, "
        "tap, ladder, roof ",
        "meal": "breakfast, lunch, supper, dinner, a snack, a picnic",
        "dish": "soup, bread, a salad, a pie, pasta, an omelette, a stew, a cake, some rice, a "
        "pudding, toast ",
        "place": "park, market, library, station, river, hills, woods, harbour, museum, old mill, "
        "beach, town hall ",
        "person": "neighbour, postman, baker, bus driver, old lady next door, gardener, teacher, "
        "shopkeeper, stranger ",
        "thing": "a letter, a parcel, an umbrella, a hat, a newspaper, a basket, a coat, a scarf, "
        "a box of old photos ",
        "feel": "tired, glad, worried, hungry, cheerful, sleepy, curious, nervous, proud, lazy, "
        "hopeful, lonely ",
        "do": "rest, read, take a walk, tidy up, call a friend, drink some tea, listen to "
        "music, sit in the sun, write letters ",
        "doing": "reading, cleaning, waiting, writing, walking, thinking, cooking, sleeping, "
        "talking, packing, working ",
        "work": "meeting, report, letter, budget, presentation, plan, interview, phone call, "
        "training, talk ",
        "art": "film, concert, play, song, painting, poem, novel, exhibition, opera, show, "
        "story, lecture ",
        "body": "back, knee, head, shoulder, foot, neck, tooth, wrist, ankle, ear",
        "season": "spring, summer, autumn, winter, the holidays, the weekend, Christmas, Easter ",
        "long": "an hour, half the day, ten minutes, the whole evening, ages, a whole week, most "
        "of the morning, two days ",
    }.items()
}

_TOPICS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = tuple(
    (
        tuple(line.strip() for line in said.strip().splitlines()),
        tuple(line.strip() for line in replied.strip().splitlines()),
    )
    for said, replied in (
        (
            """We had a lot of <sky> <when>.
            The <sky> kept me inside for <long>.
            What <good> weather we have today!
            I like <season> best when there is some <sky>.
            There was <sky> over the <place>, and I got wet to the skin.
            They say that there will be more <sky> before <season>.
            The sky was <very> grey <when>, and I felt <feel>.""",
            """A day of <sky> is a good day to <do>.
            I hope it will be <good> again before <season>.
            Some people enjoy the <sky>, and some would rather <do>.
            Then stay warm and <do>.
            The weather changes fast in <season>.
            That sounds <very> <good>, at least from the window.""",
        ),
        (
            """I made <dish> for <meal>, and it was <very> good.
            I burned the <meal> <when> because I was <doing>.
            Should I make <dish> or <dish>?
            The <person> gave me <dish> for <meal>.
            There is nothing better than <dish> after a <bad> day.
            I never learned to make <dish> well.
            Cooking makes me <feel>, but I like eating.""",
            """With a little salt, <dish> can hardly go wrong.
            It helps to taste it now and then while you are cooking.
            That sounds <good>, and it makes one <feel> to hear it.
            Next time you could try <dish> instead.
            A <good> meal takes time, and <long> is not too much.
            Everybody burns something at times.""",
        ),
        (
            """The <plant> in the garden look <very> <good>.
            I spent <long> with the <plant> <when>.
            A <animal> came into the garden <when>.
            Something has been eating the <plant>, perhaps a <animal>.
            I want to have more <plant> by <season>.
            The <person> says that my <plant> need more water.
            I saw a <animal> near the <place>, and it was not afraid at all.""",
            """Most <plant> like water in the morning and sun after that.
            A <animal> in the garden is a <good> guest.
            You could put some <plant> near the wall, where it is warm.
            Be patient until <season>, and they will grow.
            Gardens need time, and so do <plant>.
            I would leave the <animal> in peace.""",
        ),
        (
            """The <work> took <long>, and I am <feel> now.
            I still have to finish a <work> before <season>.
            We had a <bad> <work> <when>.
            Nobody listened during the <work>, I think.
            I was late for the <work> because of the <sky>.
            Can you help me to begin a <work>? I do not know how.
            The <work> went <very> well, and now I want to <do>.""",
            """Begin with the main point, and the rest of the <work> will follow.
            After such a <work> you should <do>.
            A short list often helps before a <work>.
            It is over now, and you can <do>.
            I am sure that the next <work> will be more <good>.
            Write down three thoughts and choose the best one.""",
        ),
        (
            """The <object> is broken again, would you believe it?
            I tried to repair the <object> and needed <long>.
            There is a <bad> noise coming from the <object>.
            The <person> helped me with the <object>.
            I should buy a new <object> before <season>.
            The old <object> still works, but it looks <bad>.
            I cleaned the <object> for <long>.""",
            """Switch it off, wait for a moment, and try again.
            An old <object> can often be saved.
            It may be a small thing, so look at the screws first.
            How kind of the <person> to help.
            If the noise does not stop, ask somebody who knows about such things.
            A new <object> can wait, I would say.""",
        ),
        (
            """I walked to the <place> and back <when>.
            There were many people at the <place>.
            I met the <person> near the <place>, and we talked for <long>.
            I left <thing> at the <place>, I think.
            It is <very> quiet at the <place> in summer.
            I got lost on the way to the <place>.
            On the way to the <place> I found <thing>.""",
            """A walk to the <place> clears the head.
            The <place> must be lovely at this hour.
            Perhaps the <person> has seen it.
            I like to hear about the <place>.
            Next time, take <thing> with you.
            It is easy to lose the way when one is <doing>.""",
        ),
        (
            """I could not sleep <when>, so I was <doing> for <long>.
            My <body> hurts again.
            I feel <very> <feel> today.
            I want to <do>, but I am too <feel>.
            Do you think that <doing> would help?
            I had a <bad> dream about a <animal>.
            I should go to bed early for once.""",
            """Try to <do> for a while, it often helps.
            Rest your <body>, and be kind to yourself.
            Everybody feels <feel> now and then.
            If it gets worse, please see somebody about it.
            A cup of something warm and <long> of quiet may help.
            Dreams are <very> odd things.""",
        ),
        (
            """I saw a <good> <art> <when>.
            The <art> was <very> <bad>, and we left early.
            Have you heard about the new <art> at the <place>?
            The <person> cannot stop talking about that <art>.
            I fell asleep during the <art>.
            I have been <doing> and listening to music for <long>.
            A <good> <art> always makes me <feel>.""",
            """A good <art> stays with you for <long>.
            Not every <art> can be <good>.
            I like to hear what people think of a <art>.
            What did you like about the <art>?
            Perhaps the <person> would come with you next time.
            Then the evening was not lost at all.""",
        ),
        (
            """The <person> came by with <thing> <when>.
            Somebody left <thing> in front of the door.
            I have not seen the <person> for <long>.
            People here are <very> <good>, I must say.
            The <person> was <doing> in the street <when>.
            I wanted to thank the <person>, but I was too <feel>.
            We talked about <season> and about nothing much.""",
            """It is good to have people like that around.
            You could bring <dish> as a thank you.
            How very kind!
            I wonder who that was.
            Say hello the next time, it costs nothing.
            Small things like that can make a day <good>.""",
        ),
        (
            """What do you think about when you are not <doing>?
            Tell me something <good>, I am <feel>.
            Is it better to <do> or to <do>?
            Do you ever feel <feel>?
            Let us talk about something else.
            I am back, I was <doing> for <long>.
            I have <long> before I must go.""",
            """I would say <do> first, and then see.
            I am here whenever you want to talk.
            People say that a <animal> near the house brings luck.
            Here is a thought: <season> always comes again.
            It depends on how <feel> you are.
            Gladly. What would you like to talk about?""",
        ),
        (
            """I want to travel in <season>, but I have no idea how.
            The journey took <long>, and I was <doing> most of the time.
            The bus was full <when>.
            I missed the train because of <thing>.
            My bag was so heavy that my <body> hurts.
            I packed <thing> and forgot the rest.
            Travelling makes me <feel>, but I love it.""",
            """Take less with you, and the way will feel shorter.
            There will be another train, there always is.
            Travelling in <season> can be <very> <good>.
            I hope that you had something to read.
            A window seat and <dish>, and all is well.
            Then it is time to <do>.""",
        ),
        (
            """I am trying to save some money until <season>.
            Everything has become <very> expensive.
            I found <thing> at the market for next to nothing.
            Do I really need a new <object>?
            I counted my coins for <long>.
            I would like to give the <person> <thing>.
            Shopping makes me <feel>.""",
            """Wait until <season>, things may cost less then.
            If the old one works, keep it.
            Small savings become big ones.
            That was a <good> find.
            One can <do> without spending anything.
            A list helps, and so does a full stomach.""",
        ),
    )
)

_HELLO = (
    "Hello!",
    "Good morning.",
    "Hi there.",
    "Good evening.",
    "Hey,",
    "Well,",
    "So,",
    "You know,",
    "Oh,",
    "Hello again.",
    "To be honest,",
    "I must say,",
    "Listen,",
    "Guess what:",
    "Anyway,",
    "Ah well,",
)
_REACT = (
    "I see.",
    "Oh dear.",
    "How nice!",
    "That is good to hear.",
    "I understand.",
    "Really?",
    "Well, well.",
    "Of course.",
    "Thank you for telling me.",
    "Ha, I can picture that.",
    "Hm.",
    "Interesting.",
    "Yes, indeed.",
    "Fair enough.",
    "I can imagine.",
    "Good question.",
    "Who would have thought?",
    "Ah.",
    "Right.",
    "That happens.",
)
_MORE = (
    "What will you do now?",
    "Do tell me more.",
    "And how do you feel now?",
    "Is there anything else?",
    "Shall we go on?",
    "I am listening.",
    "Let me know how it goes.",
    "Take your time.",
    "Was it worth it?",
    "What happened then?",
    "How was the rest of the day?",
    "Would you do it again?",
)


def fill(rng: random.Random, template: str) -> str:
    """The template with each <slot> filled at random."""
    text = _SLOT.sub(lambda match: rng.choice(_SLOTS[match[1]]), template)
    return text if " a " not in text else _an(text)


def _an(text: str) -> str:
    return re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)


def _join(parts: list[str]) -> str:
    text = ""
    for part in parts:
        if text.endswith((",", ":")) and not part.startswith(("I ", "I'")):
            part = part[0].lower() + part[1:]
        text = f"{text} {part}" if text else part
    return text


def user_lines(rng: random.Random, topic: int, count: int) -> str:
    """So many things that the user says on a topic, after a greeting or none."""
    lines = rng.sample(_TOPICS[topic][0], count)
    opening = [rng.choice(_HELLO)] if rng.random() < 0.3 else []
    return _join(opening + [fill(rng, line) for line in lines])


def assistant_lines(rng: random.Random, topic: int, count: int) -> str:
    """A reaction, so many replies on the topic, and perhaps a question back."""
    lines = rng.sample(_TOPICS[topic][1], count)
    parts = [rng.choice(_REACT)] if rng.random() < 0.6 or not lines else []
    parts += [fill(rng, line) for line in lines]
    if rng.random() < 0.3:
        parts.append(rng.choice(_MORE))
    return _join(parts)


def any_topic(rng: random.Random) -> int:
    return rng.randrange(len(_TOPICS))
