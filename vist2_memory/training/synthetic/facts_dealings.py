"""Facts about people: names and numbers that one deals with."""

from __future__ import annotations

from vist2_memory.training.synthetic.attributes import Attribute, attribute

DEALINGS: tuple[Attribute, ...] = (
    attribute(
        "gift",
        "preference",
        "me person",
        "thing",
        say="""{who} would like {av} as a gift
            {who} [want|wants] {av} for Christmas
            the gift {who} [want|wants] most is {av}
            {who} [have|has] asked for {av} as a present
            as a present, {who} [hope|hopes] for {av}""",
        held="""the present {who} would love is {av}
            {who} would be happy with {av} as a present""",
        ask="""what would {who} like as a gift
            what gift [do|does] {who} want
            what present [have|has] {who} asked for""",
        ask_held="""with what present would {who} be happy
            which gift [do|does] {who} hope for""",
        about="what {who} would like as a gift",
        about_held="what present {who} [hope|hopes] for",
        answer="{who} would like {av}",
    ),
    attribute(
        "user_name",
        "name",
        "me person",
        "user_name",
        noun="user name",
        say="""online {who} [go|goes] by {v}
            {who} [sign|signs] in as {v}
            {who} [use|uses] the name {v} online""",
        held="the name {who} [use|uses] to sign in is {v}",
        ask="""what name [do|does] {who} use online
            what [do|does] {who} sign in as""",
        ask_held="which name [do|does] {who} go by online",
        about="the name {who} [use|uses] online",
        about_held="what {who} [sign|signs] in as online",
    ),
    attribute(
        "password",
        "number",
        "me person",
        "password",
        noun="wifi password",
        say="""the password for {whose} wifi is {v}
            to use {whose} wifi, type {v}
            {whose} wifi opens with {v}""",
        held="the word that opens {whose} wifi is {v}",
        ask="""what is the password for {whose} wifi
            which password does {whose} wifi have""",
        ask_held="what opens {whose} wifi",
        about="the password for {whose} wifi",
        about_held="which password opens {whose} wifi",
    ),
    attribute(
        "desk",
        "number",
        "me person",
        "number",
        say="""{who} [sit|sits] at desk {v}
            at the office {who} [have|has] desk {v}
            {whose} desk is number {v}
            the number of {whose} desk is {v}
            {who} [work|works] at desk {v}""",
        held="""in the office, {whose} place is desk {v}
            the desk for {whom} is number {v}""",
        ask="""which desk [do|does] {who} sit at
            what is the number of {whose} desk
            what number is {whose} desk""",
        ask_held="""at which desk [do|does] {who} work
            which desk is the one for {whom}""",
        about="which desk {who} [sit|sits] at",
        about_held="at which desk {who} [work|works]",
        answer="{whose} desk is number {v}",
    ),
    attribute(
        "arrives",
        "date",
        "me person",
        "time",
        say="""{who} will arrive at {v}
            {whose} train comes in at {v}
            {who} [arrive|arrives] at the station at {v}
            {who} will be here at {v}
            expect {whom} at {v}""",
        held="""the time {who} [come|comes] in is {v}
            at {v} {who} will be at the station""",
        ask="""when will {who} arrive
            what time [do|does] {who} arrive
            at what time will {who} be here""",
        ask_held="""when does {whose} train come in
            at what hour will {who} be at the station""",
        about="""when {who} will arrive
            what time {who} [arrive|arrives]""",
        about_held="at what time {whose} train comes in",
        answer="{who} will arrive at {v}",
        change="{whose} train is late, so {who} will arrive at {v}",
    ),
    attribute(
        "daughter",
        "name",
        "me person",
        "name",
        say="""{whose} daughter is called {v}
            {who} [have|has] a daughter called {v}
            {who} [have|has] a little girl, {v}
            {whose} daughter {v} is in bed with a cold
            the name of {whose} daughter is {v}""",
        held="""{who} [call|calls] the little girl {v}, a good name for a daughter
            {v} is {whose} daughter""",
        ask="""what is {whose} daughter called
            what is the name of {whose} daughter
            what is {whose} daughter's name""",
        ask_held="""what name did {who} give the daughter
            how is {whose} daughter called""",
        about="""the name of {whose} daughter
            what {whose} daughter is called""",
        about_held="what {whose} little girl is called",
        answer="{whose} daughter is called {v}",
    ),
    attribute(
        "son",
        "name",
        "me person",
        "name",
        say="""{whose} son is called {v}
            {who} [have|has] a son called {v}
            {who} [have|has] a little boy, {v}
            {whose} son {v} is good at school
            the name of {whose} son is {v}""",
        held="""{v} is {whose} son
            {whose} little boy has the name {v}""",
        ask="""what is {whose} son called
            what is the name of {whose} son
            what is {whose} son's name""",
        ask_held="""what name did {who} give the son
            what is {whose} little boy called""",
        about="""the name of {whose} son
            what {whose} son is called""",
        about_held="what {whose} little boy is called",
        answer="{whose} son is called {v}",
    ),
    attribute(
        "my_name",
        "name",
        "me",
        "name",
        noun="name",
        say="""{who} [am] called {v}
            people call me {v}
            I am {v}
            the name is {v}""",
        held="you can call me {v}",
        ask="""what [am] {who} called
            who [am] {who}""",
        ask_held="how [am] {who} called",
        about="{whose} name",
        about_held="how {who} [am] called",
    ),
    attribute(
        "owes",
        "number",
        "person",
        "price",
        say="""{who} owes me {v}
            I lent {whom} {v}
            I gave {whom} {v}, to be paid back
            {who} has to pay me back {v}
            {who} borrowed {v} from me""",
        held="""the money {who} borrowed is {v}
            {who} still has to give me {v}""",
        ask="""how much does {who} owe me
            how much money did I lend {whom}
            how much did {who} borrow""",
        ask_held="""how much money does {who} still have to give me
            what does {who} owe me""",
        about="how much {who} owes me",
        about_held="how much money {who} has to give me",
        answer="{who} owes you {v}",
    ),
    attribute(
        "meets",
        "date",
        "person",
        "day_time",
        say="""I meet {who} on {v}
            {who} and I will meet on {v}
            I will have lunch with {whom} on {v}
            I promised to see {whom} on {v}
            my meeting with {whom} is on {v}""",
        held="""{who} wants to see me on {v}
            the time I meet {whom} is {v}""",
        ask="""when do I meet {whom}
            when is my meeting with {whom}
            when will I see {whom}""",
        ask_held="""at what time do {who} and I meet
            on which day do I see {whom}""",
        about="""when I meet {whom}
            the time of my meeting with {whom}""",
        about_held="on which day I see {whom}",
        answer="you meet {whom} on {v}",
        change="{who} can only meet me on {v}",
    ),
)
