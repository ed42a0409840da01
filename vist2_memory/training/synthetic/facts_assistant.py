"""What the assistant told: bookings, codes, recommendations. "I" is the assistant."""

from __future__ import annotations

from vist2_memory.training.synthetic.attributes import Attribute, attribute

TOLD: tuple[Attribute, ...] = (
    attribute(
        "table",
        "assistant",
        "event",
        "number",
        say="""I have booked table {v} for {who}
            your table for {who} is number {v}
            I got you table {v} for {who}
            for {who} you have table {v}
            table {v} is yours for {who}""",
        held="""I have kept table {v} for {who}
            the table for {who} has the number {v}""",
        ask="""which table did you book for {who}
            which table do we have for {who}
            what table did you get for {who}""",
        ask_held="""what is the number of our table for {who}
            at which table do we sit for {who}""",
        about="which table you booked for {who}",
        about_held="the number of the table for {who}",
        answer="the table for {who} is number {v}",
        request="""could you book a table for {who}
            please get us a table for {who}
            I need a table for {who}""",
        change="the first table was taken, so I booked table {v} for {who}",
    ),
    attribute(
        "booking",
        "assistant",
        "event trip",
        "code",
        say="""I have booked {who} for you, the code is {v}
            the booking code for {who} is {v}
            your code for {who} is {v}
            {who} is booked under the code {v}
            please show the code {v} for {who}""",
        held="""for {who}, you have the code {v}
            the booking of {who} went well, and the code is {v}""",
        ask="""what is the booking code for {who}
            what code did you give me for {who}
            what is my code for {who}""",
        ask_held="""which code do I need for {who}
            under which code did you book {who}""",
        about="""the booking code for {who}
            my code for {who}""",
        about_held="which code I need for {who}",
        answer="the booking code for {who} is {v}",
        request="""could you book {who} for me
            please book {who}
            I would like to have {who} booked""",
        change="{who} had to be booked again, and the new code is {v}",
    ),
    attribute(
        "restaurant",
        "assistant",
        "town",
        "inn",
        say="""in {who} I recommend {v}
            the best place to eat in {who} is {v}
            if you are hungry in {who}, try {v}
            a good restaurant in {who} is {v}
            for dinner in {who} I would go to {v}""",
        held="""when you want to eat in {who}, go to {v}
            in {who} the food is best at {v}""",
        ask="""which restaurant did you recommend in {who}
            where did you say I should eat in {who}
            what is a good place to eat in {who}""",
        ask_held="""where is the food best in {who}
            which place did you recommend for dinner in {who}""",
        about="""which restaurant you recommended in {who}
            the best place to eat in {who}""",
        about_held="where the food is best in {who}",
        answer="the restaurant in {who} is {v}",
        request="""do you know a restaurant in {who}
            where can I eat in {who}
            I will be in {who}. Where is the food good""",
    ),
    attribute(
        "sight",
        "assistant",
        "town",
        "town",
        say="""in {who} you should see the old quarter, {v}
            the finest part of {who} is {v}
            the part of {who} I like best is {v}
            in {who}, take a walk through {v}
            when in {who}, do not miss {v}""",
        held="""the best walk in {who} is through {v}
            to see old houses in {who}, go to {v}""",
        ask="""which part of {who} did you recommend
            what should I see in {who}
            what should I not miss in {who}""",
        ask_held="""where should I take a walk in {who}
            which is the finest part of {who}""",
        about="""what I should see in {who}
            which part of {who} you recommended""",
        about_held="where to take a walk in {who}",
        answer="in {who} you should see {v}",
        request="""what is there to see in {who}
            I have a free day in {who}. What should I see""",
    ),
    attribute(
        "bus",
        "assistant",
        "town",
        "number",
        say="""the bus to {who} is number {v}
            take bus {v} to {who}
            you get to {who} with bus {v}
            bus {v} goes to {who}
            for {who}, you need bus {v}""",
        held="""the number of the bus for {who} is {v}
            if you go to {who}, wait for bus {v}""",
        ask="""which bus goes to {who}
            what bus do I take to {who}
            which bus do I need for {who}""",
        ask_held="""what is the number of the bus to {who}
            with which bus do I get to {who}""",
        about="""which bus goes to {who}
            what bus I need for {who}""",
        about_held="the number of the bus to {who}",
        answer="the bus to {who} is number {v}",
        request="""how do I get to {who}
            which bus should I take to {who}""",
    ),
    attribute(
        "hours",
        "assistant",
        "town",
        "time",
        say="""the train to {who} leaves at {v}
            your train for {who} goes at {v}
            the next train to {who} is at {v}
            there is a train to {who} at {v}
            be at the station at {v} for the train to {who}""",
        held="""at {v} the train leaves for {who}
            to get to {who}, take the train at {v}""",
        ask="""when does the train to {who} leave
            what time is the train to {who}
            when does my train to {who} go""",
        ask_held="""at what time does the train leave for {who}
            when must I be at the station for the train to {who}""",
        about="""when the train to {who} leaves
            the time of the train to {who}""",
        about_held="at what time the train leaves for {who}",
        answer="the train to {who} leaves at {v}",
        request="""is there a train to {who}
            when can I get a train to {who}""",
        change="there was a change, and the train to {who} leaves at {v}",
    ),
    attribute(
        "track",
        "assistant",
        "town",
        "few",
        say="""the train to {who} goes from platform {v}
            for {who}, go to platform {v}
            you find the train to {who} on platform {v}
            platform {v} is the one for {who}
            the platform for {who} is number {v}""",
        held="""wait on platform {v} for the train to {who}
            the train that goes to {who} stands on platform {v}""",
        ask="""which platform does the train to {who} go from
            which platform is it for {who}
            what platform do I need for {who}""",
        ask_held="""on which platform do I wait for the train to {who}
            where does the train to {who} stand""",
        about="""which platform the train to {who} goes from
            the platform for {who}""",
        about_held="on which platform the train to {who} stands",
        answer="the train to {who} goes from platform {v}",
        request="""which platform should I go to for {who}
            I am at the station and want to get to {who}. Where do I go""",
    ),
    attribute(
        "ingredient",
        "assistant",
        "dish",
        "ingredient",
        say="""for {who}, add a little {v}
            the secret of {who} is {v}
            I would put {v} into {who}
            {who} tastes best with {v}
            put some {v} into {who} at the end""",
        held="""{who} needs some {v}
            with {v}, {who} will be even better""",
        ask="""what did you say I should add to {who}
            what goes into {who}
            what is the secret of {who}""",
        ask_held="""with what does {who} taste best
            what does {who} need""",
        about="""what I should add to {who}
            the secret of {who}""",
        about_held="what {who} needs",
        answer="the secret of {who} is {v}",
        request="""how can I make {who} better
            what is missing in {who}
            any tips for {who}""",
    ),
    attribute(
        "cook",
        "assistant",
        "dish",
        "minutes",
        say="""{who} must cook for {v} minutes
            leave {who} in the oven for {v} minutes
            {who} takes {v} minutes
            cook {who} for {v} minutes
            {who} is ready after {v} minutes""",
        held="""give {who} {v} minutes in the oven
            the time for {who} is {v} minutes""",
        ask="""how long must {who} cook
            how many minutes does {who} take
            how long does {who} take""",
        ask_held="""after how many minutes is {who} ready
            what time does {who} need in the oven""",
        about="""how long {who} must cook
            how many minutes {who} takes""",
        about_held="after how many minutes {who} is ready",
        answer="the minutes {who} must cook are {v}",
        request="""how long should I cook {who}
            I am about to make {who}. How long does it take""",
    ),
    attribute(
        "plan",
        "assistant",
        "weekday",
        "town",
        say="""for {who} I suggest a trip to {v}
            my plan for {who} is a visit to {v}
            on {who} you could go to {v}
            {who} would be a good day to see {v}
            let us say that on {who} you visit {v}""",
        held="""a good idea for {who} is {v}
            I would keep {who} free for {v}""",
        ask="""what did you suggest for {who}
            where did you say I could go on {who}
            what is the plan for {who}""",
        ask_held="""what was your idea for {who}
            which town could I visit on {who}""",
        about="""what you suggested for {who}
            the plan for {who}""",
        about_held="which town I could visit on {who}",
        answer="the plan for {who} is {v}",
        request="""what could I do on {who}
            I have no plans for {who}. Any ideas""",
        change="there will be rain, so for {who} I would rather suggest {v}",
    ),
    attribute(
        "film",
        "assistant",
        "weekday",
        "title",
        say="""the film on {who} is {v}
            on {who} they show {v}
            I suggest that you watch {v} on {who}
            {v} is on at the cinema on {who}
            the cinema shows {v} on {who}""",
        held="""the cinema has {v} on {who}
            on {who}, the film to see is {v}""",
        ask="""what film is on at the cinema on {who}
            which film do they show on {who}
            what should I watch on {who}""",
        ask_held="""what does the cinema have on {who}
            which film can I see on {who}""",
        about="""which film they show on {who}
            what is on at the cinema on {who}""",
        about_held="which film I can see on {who}",
        answer="the film on {who} is {v}",
        request="""what is on at the cinema on {who}
            which film could I see on {who}""",
    ),
    attribute(
        "gift_idea",
        "assistant",
        "person",
        "thing",
        say="""for {whom}, how about {av}
            a good present for {whom} would be {av}
            I would give {whom} {av}
            my idea for {whom} is {av}
            I suggest {av} as a present for {whom}""",
        held="""{who} would be happy with {av}, I think
            as a present for {whom}, I would choose {av}""",
        ask="""what present did you suggest for {whom}
            what was your idea for a present for {whom}
            what did you say I should give {whom}""",
        ask_held="with what present would {who} be happy",
        about="what present you suggested for {whom}",
        about_held="which present you would choose for {whom}",
        answer="the present for {whom} is {av}",
        request="""what could I give {whom}
            I need a present for {whom}. Any ideas""",
    ),
    attribute(
        "taxi",
        "assistant",
        "person event",
        "time",
        say="""the taxi for {whom} comes at {v}
            I ordered a taxi for {whom} at {v}
            the car for {whom} will be there at {v}
            a taxi will be there for {whom} at {v}
            I have a taxi for {whom} at {v}""",
        held="""at {v} there will be a taxi for {whom}
            the taxi that I ordered for {whom} is there at {v}""",
        ask="""when does the taxi for {whom} come
            what time did you order the taxi for {whom}
            when will the taxi for {whom} be there""",
        ask_held="""for what time is the taxi for {whom}
            at what time will there be a taxi for {whom}""",
        about="""when the taxi for {whom} comes
            the time of the taxi for {whom}""",
        about_held="at what time the taxi for {whom} will be there",
        answer="the taxi for {whom} comes at {v}",
        request="""can you order a taxi for {whom}
            please get a taxi for {whom}""",
        change="the taxi for {whom} is late and comes at {v}",
    ),
    attribute(
        "order",
        "assistant",
        "thing",
        "code",
        say="""your order for {who} has the number {v}
            I ordered {who}, the order number is {v}
            the order number for {who} is {v}
            {who} is on its way, number {v}
            I have ordered {who} under number {v}""",
        held="""the order of {who} went out under number {v}
            if you ask about {who}, give them the number {v}""",
        ask="""what is the order number for {who}
            what number does the order for {who} have
            under which number did you order {who}""",
        ask_held="""which number do I give them for {who}
            what number did the order of {who} go out under""",
        about="""the order number for {who}
            under which number you ordered {who}""",
        about_held="which number the order of {who} has",
        answer="the order number for {who} is {v}",
        request="can you order {who} again",
    ),
    attribute(
        "repair",
        "assistant",
        "thing",
        "firm",
        say="""to repair {who}, go to {v}
            the best people to repair {who} are at {v}
            {v} can repair {who}
            I called {v} about {who}, and they can repair it
            for {who} I recommend {v}""",
        held="""I would take {who} to {v}
            the firm that can repair {who} is {v}""",
        ask="""who can repair {who}
            who did you recommend for {who}
            which firm can repair {who}""",
        ask_held="""to which firm should I take {who}
            who did you call about {who}""",
        about="""who can repair {who}
            who you recommended for {who}""",
        about_held="which firm I should take {who} to",
        answer="the firm that can repair {who} is {v}",
        request="""who could repair {who}
            {who} is broken. Who can help me""",
    ),
)
