"""Facts about people: their days, journeys, lessons and helpers."""

from __future__ import annotations

from vist2_memory.training.synthetic.attributes import Attribute, attribute

DAYS: tuple[Attribute, ...] = (
    attribute(
        "car",
        "name",
        "me person",
        "car",
        say="""{who} [drive|drives] {av}
            {whose} car is {av}
            {who} [have|has] an old {v} as a car
            {who} [go|goes] to work in {av}
            the car {who} [drive|drives] is {av}""",
        held="""for a car, {who} [have|has] {av}
            {who} [own|owns] {av}""",
        ask="""what car [do|does] {who} drive
            which car [do|does] {who} have
            what kind of car is {whose} car
            what [do|does] {who} drive""",
        ask_held="""what make of car [do|does] {who} own
            what kind of car [do|does] {who} go to work in""",
        about="""what car {who} [drive|drives]
            which car {who} [have|has]""",
        about_held="what kind of car {who} [own|owns]",
        answer="{who} [drive|drives] {av}",
        change="{who} sold the old car and [drive|drives] {av} now",
    ),
    attribute(
        "hotel",
        "place",
        "me person",
        "hotel",
        noun="hotel",
        say="""{who} [am] staying at {v}
            {who} [have|has] a room at {v}
            the hotel {who} [stay|stays] at is called {v}""",
        held="""{who} [sleep|sleeps] at {v} this week
            the hotel for {whom} is {v}""",
        ask="""which hotel [am] {who} staying at
            what hotel [do|does] {who} have a room at
            where [am] {who} staying""",
        ask_held="""at what hotel [do|does] {who} sleep this week
            what is the name of {whose} hotel""",
        about="which hotel {who} [am] staying at",
        about_held="the name of {whose} hotel",
        answer="{who} [am] staying at {v}",
    ),
    attribute(
        "room",
        "number",
        "me person",
        "pin",
        noun="room number",
        say="""{who} [am] in room {v}
            {who} [was] given room {v}
            the room {who} [have|has] is number {v}""",
        held="{who} [sleep|sleeps] in room {v}",
        ask="""which room [am] {who} in
            what room [was] {who} given""",
        ask_held="in which room [do|does] {who} sleep",
        about="which room {who} [am] in",
        about_held="which room {who} [was] given",
    ),
    attribute(
        "door_code",
        "number",
        "me person",
        "pin",
        noun="door code",
        say="""the code for {whose} front door is {v}
            to open {whose} door, type {v}
            {whose} door opens with the code {v}""",
        held="the code that opens {whose} door is {v}",
        ask="""what is the code for {whose} door
            which code opens {whose} door""",
        ask_held="what does one type to open {whose} door",
        about="the code for {whose} door",
        about_held="which code opens {whose} front door",
    ),
    attribute(
        "locker",
        "number",
        "me person",
        "number",
        noun="locker number",
        say="""{who} [have|has] locker {v}
            {who} [keep|keeps] things in locker {v}
            the locker {who} [use|uses] is number {v}""",
        held="the number of {whose} locker is {v}",
        ask="""which locker [do|does] {who} have
            what is the number of {whose} locker""",
        ask_held="which locker [do|does] {who} use",
        about="which locker {who} [have|has]",
        about_held="which locker {who} [use|uses]",
    ),
    attribute(
        "flight",
        "number",
        "me person",
        "flight",
        noun="flight number",
        say="""{who} [am] on flight {v}
            {who} [fly|flies] with flight {v}
            the flight {who} [take|takes] is {v}""",
        held="the number of {whose} flight is {v}",
        ask="""which flight [am] {who} on
            what flight [do|does] {who} take""",
        ask_held="what is the number of {whose} flight",
        about="which flight {who} [am] on",
        about_held="the number of {whose} flight",
    ),
    attribute(
        "seat",
        "number",
        "me person",
        "seat",
        noun="seat",
        say="""{who} [sit|sits] in seat {v}
            {who} [have|has] seat {v}
            {whose} seat on the train is {v}""",
        held="the seat for {whom} is {v}",
        ask="""which seat [do|does] {who} have
            in which seat [do|does] {who} sit
            what seat [am] {who} in""",
        ask_held="where [do|does] {who} sit on the train",
        about="which seat {who} [have|has]",
        about_held="in what seat {who} [sit|sits]",
    ),
    attribute(
        "dentist",
        "name",
        "me person",
        "doctor",
        say="""{whose} dentist is {v}
            {whose} dentist is called {v}
            {who} [go|goes] to a dentist called {v}
            the dentist {who} [see|sees] is {v}
            the name of {whose} dentist is {v}""",
        held="""for {whose} teeth, there is {v}, the dentist
            {v} is {whose} dentist""",
        ask="""who is {whose} dentist
            what is {whose} dentist called
            which dentist [do|does] {who} see
            what is the name of {whose} dentist""",
        ask_held="""to which dentist [do|does] {who} go
            who takes care of {whose} teeth""",
        about="""who {whose} dentist is
            the name of {whose} dentist""",
        about_held="which dentist {who} [go|goes] to",
        answer="{whose} dentist is {v}",
    ),
    attribute(
        "doctor",
        "name",
        "me person",
        "doctor",
        say="""{whose} doctor is {v}
            when ill, {who} [go|goes] to {v}, the doctor
            {whose} doctor is called {v}
            the doctor {who} [see|sees] is {v}
            the name of {whose} doctor is {v}""",
        held="""{v} is {whose} doctor
            the doctor who takes care of {whom} is {v}""",
        ask="""who is {whose} doctor
            what is {whose} doctor called
            which doctor [do|does] {who} see""",
        ask_held="""to which doctor [do|does] {who} go
            what is the name of {whose} doctor""",
        about="""who {whose} doctor is
            the name of {whose} doctor""",
        about_held="which doctor {who} [go|goes] to",
        answer="{whose} doctor is {v}",
    ),
    attribute(
        "appointment",
        "date",
        "me person",
        "day_time",
        say="""{whose} appointment with the dentist is on {v}
            {who} [have|has] an appointment at the dentist on {v}
            the dentist expects {whom} on {v}
            {who} must be at the dentist on {v}
            {who} [see|sees] the dentist on {v}""",
        held="""the dentist will see {whom} on {v}
            {whose} time at the dentist is {v}""",
        ask="""when is {whose} appointment with the dentist
            when [do|does] {who} see the dentist
            when must {who} be at the dentist""",
        ask_held="""at what time [do|does] {who} have to be at the dentist
            when does the dentist expect {whom}""",
        about="""when {whose} appointment with the dentist is
            when {who} [see|sees] the dentist""",
        about_held="when the dentist expects {whom}",
        answer="{whose} appointment with the dentist is on {v}",
        change="the dentist moved {whose} appointment to {v}",
    ),
    attribute(
        "book",
        "name",
        "me person",
        "title",
        say="""{who} [am] reading {v}
            {who} [am] reading a book called {v}
            the book {who} [am] reading is {v}
            {who} [have|has] just started reading {v}
            at night {who} [read|reads] {v}""",
        held="""the book on {whose} table is {v}, and {who} [read|reads] it at night
            right now {who} [read|reads] {v}""",
        ask="""what book [am] {who} reading
            which book [am] {who} reading
            what [am] {who} reading""",
        ask_held="""what is the book called that {who} [read|reads]
            which book [do|does] {who} read at night""",
        about="""what {who} [am] reading
            which book {who} [am] reading""",
        about_held="what {who} [read|reads] at night",
        answer="{who} [am] reading {v}",
    ),
    attribute(
        "instrument",
        "preference",
        "me person",
        "instrument",
        noun="instrument",
        say="""{who} [play|plays] the {v}
            {who} [am] learning to play the {v}
            {who} [play|plays] the {v} in a band""",
        held="{who} [make|makes] music on the {v}",
        ask="""which instrument [do|does] {who} play
            what instrument [do|does] {who} play
            what [do|does] {who} play in the band""",
        ask_held="on what instrument [do|does] {who} make music",
        about="which instrument {who} [play|plays]",
        about_held="what instrument {who} [play|plays] in the band",
        answer="{who} [play|plays] the {v}",
    ),
    attribute(
        "school",
        "place",
        "me person",
        "school",
        say="""{who} went to {v}
            {whose} old school is {v}
            {who} [was] at school at {v}
            the school {who} went to is {v}
            {who} learned to read at {v}""",
        held="""as a child, {who} went to {v}
            {whose} years at school were spent at {v}""",
        ask="""which school did {who} go to
            what school did {who} go to
            where did {who} go to school""",
        ask_held="""at which school [was] {who} as a child
            what is the name of {whose} old school""",
        about="""which school {who} went to
            where {who} went to school""",
        about_held="the name of {whose} old school",
        answer="{who} went to {v}",
    ),
)
