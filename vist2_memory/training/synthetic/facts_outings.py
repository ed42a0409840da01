"""Facts about trips, events and pets."""

from __future__ import annotations

from vist2_memory.training.synthetic.attributes import Attribute, attribute

OUTINGS: tuple[Attribute, ...] = (
    attribute(
        "leaves",
        "date",
        "trip",
        "date",
        say="""{who} starts on {v}
            {who} begins on {v}
            we leave home for {who} on {v}
            the first day of {who} is {v}
            the date of {who} is {v}""",
        held="""the day {who} begins is {v}
            on {v}, {who} will start""",
        ask="""when does {who} start
            when does {who} begin
            what is the date of {who}
            what is the first day of {who}""",
        ask_held="""on which day does {who} start
            on what date does {who} begin""",
        about="""when {who} starts
            the date of {who}""",
        about_held="on which day {who} begins",
        answer="{who} starts on {v}",
        change="{who} had to be moved and starts on {v}",
    ),
    attribute(
        "trip_cost",
        "number",
        "trip",
        "price",
        say="""{who} costs {v}
            the price of {who} is {v}
            we pay {v} for {who}
            I paid {v} for {who}
            the tickets for {who} cost {v}""",
        held="""the money we need for {who} is {v}
            all in all, {who} costs {v}""",
        ask="""how much does {who} cost
            what does {who} cost
            what is the price of {who}
            how much do we pay for {who}""",
        ask_held="""how much money do we need for {who}
            what did I pay for {who}""",
        about="""how much {who} costs
            the price of {who}""",
        about_held="how much money we need for {who}",
        answer="{who} costs {v}",
    ),
    attribute(
        "trip_hotel",
        "place",
        "trip",
        "hotel",
        say="""on {who} we stay at {v}
            the hotel for {who} is {v}
            for {who} I have a room at {v}
            our hotel on {who} is called {v}
            during {who} we sleep at {v}""",
        held="""our rooms for {who} are at {v}
            the place where we sleep on {who} is {v}""",
        ask="""where do we stay on {who}
            which hotel is it for {who}
            what is our hotel on {who} called""",
        ask_held="""at which hotel do we sleep on {who}
            where do we sleep during {who}""",
        about="""where we stay on {who}
            the hotel for {who}""",
        about_held="at which hotel we sleep during {who}",
        answer="the hotel for {who} is {v}",
    ),
    attribute(
        "trip_with",
        "name",
        "trip",
        "name",
        say="""I go on {who} with {v}
            {v} comes with me on {who}
            my company on {who} is {v}
            I asked {v} to join me on {who}
            {v} will join me on {who}""",
        held="""the person who comes on {who} with me is {v}
            for {who}, I will have {v} with me""",
        ask="""who comes with me on {who}
            who will join me on {who}
            who do I go on {who} with""",
        ask_held="""with whom do I go on {who}
            who did I ask to come on {who}""",
        about="""who comes with me on {who}
            who will join me on {who}""",
        about_held="with whom I go on {who}",
        answer="the one who joins you on {who} is {v}",
    ),
    attribute(
        "event_date",
        "date",
        "event",
        "day_time",
        say="""{who} is on {v}
            {who} starts on {v}
            {who} has been set for {v}
            we have {who} on {v}
            {who} takes place on {v}""",
        held="""the time of {who} is {v}
            on {v} there will be {who}""",
        ask="""when is {who}
            when does {who} start
            when does {who} take place
            what is the date of {who}""",
        ask_held="""on which day is {who}
            at what time is {who}""",
        about="""when {who} is
            when {who} starts""",
        about_held="on which day {who} takes place",
        answer="{who} is on {v}",
        change="{who} has been moved to {v}",
    ),
    attribute(
        "event_place",
        "place",
        "event",
        "inn",
        say="""{who} will be at {v}
            {who} takes place at {v}
            we meet at {v} for {who}
            the place for {who} is {v}
            for {who} we all go to {v}""",
        held="""{who} will be held at {v}
            the house where we have {who} is {v}""",
        ask="""where is {who}
            where does {who} take place
            where do we meet for {who}
            where will {who} be""",
        ask_held="""at which place will {who} be held
            to what place do we go for {who}""",
        about="""where {who} is
            where {who} takes place""",
        about_held="at which place {who} will be held",
        answer="{who} will be at {v}",
        change="{who} cannot be there, so it will be at {v}",
    ),
    attribute(
        "guests",
        "number",
        "event",
        "long_number",
        say="""{v} people will come to {who}
            {v} guests come to {who}
            we expect {v} people at {who}
            there are {v} names on the list for {who}
            I asked {v} people to {who}""",
        held="""the number of guests at {who} is {v}
            for {who} we need {v} chairs, one for each guest""",
        ask="""how many people will come to {who}
            how many guests do we expect at {who}
            how many names are on the list for {who}""",
        ask_held="""what is the number of guests at {who}
            how many people did I ask to {who}""",
        about="""how many people will come to {who}
            how many guests come to {who}""",
        about_held="the number of guests at {who}",
        answer="the number of guests at {who} is {v}",
    ),
    attribute(
        "brings",
        "plan",
        "event",
        "dish",
        say="""I will bring {v} to {who}
            I will make {v} for {who}
            for {who} I promised to make {v}
            we will eat {v} at {who}
            there will be {v} at {who}""",
        held="""the food at {who} will be {v}
            at {who} everybody gets {v}""",
        ask="""what will I bring to {who}
            what will we eat at {who}
            what did I promise to make for {who}
            what food will there be at {who}""",
        ask_held="""what does everybody get to eat at {who}
            which dish will I make for {who}""",
        about="""what I will bring to {who}
            what we will eat at {who}""",
        about_held="which dish we will eat at {who}",
        answer="at {who} there will be {v}",
    ),
    attribute(
        "speaker",
        "name",
        "event",
        "full_name",
        say="""{v} will speak at {who}
            the speaker at {who} is {v}
            {v} gives the speech at {who}
            we asked {v} to speak at {who}
            the first to speak at {who} is {v}""",
        held="""the speech at {who} will be given by {v}
            at {who} we will hear {v}""",
        ask="""who will speak at {who}
            who gives the speech at {who}
            who is the speaker at {who}""",
        ask_held="""who did we ask to speak at {who}
            by whom will the speech at {who} be given""",
        about="""who will speak at {who}
            who gives the speech at {who}""",
        about_held="who we asked to speak at {who}",
        answer="the speaker at {who} is {v}",
    ),
    attribute(
        "pet_age",
        "number",
        "pet",
        "few",
        say="""{who} is {v} months old
            {who} just turned {v} months
            the age of {who} is {v} months
            {who} was born {v} months ago
            at {v} months, {who} is still small""",
        held="""in months, {who} is {v}
            it is now {v} months since {who} was born""",
        ask="""how old is {who}
            how many months old is {who}
            what is the age of {who}""",
        ask_held="""what age is {who}
            how many months is it since {who} was born""",
        about="""how old {who} is
            the age of {who}""",
        about_held="how many months old {who} is",
        answer="the age of {who} in months is {v}",
    ),
    attribute(
        "eats",
        "preference",
        "pet",
        "ingredient",
        say="""{who} loves {v}
            {who} eats nothing but {v}
            we feed {who} with {v}
            the food {who} likes best is {v}
            {who} would do anything for {v}""",
        held="""for food, {who} wants {v}
            what {who} likes to eat is {v}""",
        ask="""what does {who} eat
            what food does {who} like best
            what do we feed {who} with""",
        ask_held="""what does {who} like to eat
            which food does {who} want""",
        about="""what {who} eats
            what {who} likes to eat""",
        about_held="which food {who} likes",
        answer="{who} eats {v}",
    ),
    attribute(
        "vet",
        "name",
        "pet",
        "doctor",
        say="""the vet who looks after {who} is {v}
            {who} goes to a vet called {v}
            I take {who} to {v}, the vet
            when {who} is ill, we call {v}, the vet
            the vet of {who} is called {v}""",
        held="""for {who}, the best vet is {v}
            the vet who takes care of {who} is {v}""",
        ask="""who is the vet of {who}
            which vet does {who} go to
            which vet looks after {who}""",
        ask_held="""to which vet do I take {who}
            what is the name of the vet who takes care of {who}""",
        about="""which vet {who} goes to
            the name of the vet who looks after {who}""",
        about_held="to which vet I take {who}",
        answer="the vet of {who} is {v}",
    ),
    attribute(
        "sleeps",
        "place",
        "pet",
        "spot_in",
        say="""{who} sleeps in {v}
            {who} likes to sleep in {v}
            at night {who} is in {v}
            the bed of {who} is in {v}
            {who} has a bed in {v}""",
        held="""the place where {who} spends the night is {v}
            when it is dark, {who} goes to {v}""",
        ask="""where does {who} sleep
            where is the bed of {who}
            where is {who} at night""",
        ask_held="""where does {who} spend the night
            in which place does {who} sleep""",
        about="""where {who} sleeps
            where {who} is at night""",
        about_held="where {who} spends the night",
        answer="{who} sleeps in {v}",
    ),
)
