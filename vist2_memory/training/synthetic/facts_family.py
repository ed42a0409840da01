"""Facts about people: family, pets, age, plans and wishes."""

from __future__ import annotations

from vist2_memory.training.synthetic.attributes import Attribute, attribute

FAMILY: tuple[Attribute, ...] = (
    attribute(
        "team",
        "preference",
        "me person",
        "team",
        noun="favourite team",
        say="""{who} [am] a fan of {v}
            the team {who} [support|supports] is {v}
            {who} [go|goes] to every match of {v}""",
        held="in football, {who} [am] for {v}",
        ask="""which team [do|does] {who} support
            what team [am] {who} a fan of""",
        ask_held="which football team [do|does] {who} like best",
        about="which team {who} [support|supports]",
        about_held="which football team {who} [like|likes] best",
        answer="{who} [support|supports] {v}",
    ),
    attribute(
        "nickname",
        "name",
        "me person",
        "proper",
        noun="nickname",
        say="""friends call {whom} {v}
            {who} [have|has] the nickname {v}
            everybody calls {whom} {v}""",
        held="the name friends use for {whom} is {v}",
        ask="""what do friends call {whom}
            what nickname [do|does] {who} have""",
        ask_held="what does everybody call {whom}",
        about="what friends call {whom}",
        about_held="what everybody calls {whom}",
    ),
    attribute(
        "cat",
        "name",
        "me person",
        "name",
        say="""{whose} cat is called {v}
            {who} [have|has] a cat called {v}
            the name of {whose} cat is {v}
            {who} [have|has] a cat, and its name is {v}
            {whose} cat {v} sleeps all day""",
        held="""{who} [call|calls] the cat {v}
            there is a cat in {whose} house and its name is {v}""",
        ask="""what is {whose} cat called
            what is the name of {whose} cat
            what is {whose} cat's name""",
        ask_held="""what name did {who} give the cat
            what [do|does] {who} call the cat""",
        about="""what {whose} cat is called
            the name of {whose} cat""",
        about_held="what {who} [call|calls] the cat",
        answer="{whose} cat is called {v}",
    ),
    attribute(
        "dog",
        "name",
        "me person",
        "name",
        say="""{whose} dog is called {v}
            {who} [have|has] a dog called {v}
            the name of {whose} dog is {v}
            {whose} dog {v} loves the garden
            {who} [walk|walks] the dog, {v}, every morning""",
        held="""{who} [call|calls] the dog {v}
            {v} is what {whose} dog is called""",
        ask="""what is {whose} dog called
            what is the name of {whose} dog
            what is {whose} dog's name""",
        ask_held="""what [do|does] {who} call the dog
            how is {whose} dog called""",
        about="""what {whose} dog is called
            the name of {whose} dog""",
        about_held="what {who} [call|calls] the dog",
        answer="{whose} dog is called {v}",
    ),
    attribute(
        "born",
        "place",
        "me person",
        "town",
        say="""{who} [was] born in {v}
            {who} [come|comes] from {v}
            {whose} home town is {v}
            {who} grew up in {v}
            the town {who} [come|comes] from is {v}""",
        held="""{v} is the town {who} [come|comes] from
            as a child {who} lived in {v}""",
        ask="""where [was] {who} born
            where [do|does] {who} come from
            where did {who} grow up
            what is {whose} home town""",
        ask_held="""which town [do|does] {who} come from
            in which town did {who} grow up""",
        about="""where {who} [come|comes] from
            which town {who} grew up in""",
        about_held="in which town {who} grew up",
        answer="{who} [come|comes] from {v}",
    ),
    attribute(
        "age",
        "number",
        "me person",
        "age",
        say="""{who} [am] {v} years old
            {who} [am] {v}
            {who} just turned {v}
            {whose} age is {v}
            {who} [have|has] reached the age of {v}""",
        held="""in years, {who} [am] {v}
            {who} [have|has] just had birthday number {v}""",
        ask="""how old [am] {who}
            what is {whose} age
            what age [am] {who}""",
        ask_held="""how many years old [am] {who}
            what age [have|has] {who} reached""",
        about="""how old {who} [am]
            {whose} age""",
        about_held="what age {who} [am]",
        answer="{whose} age is {v}",
    ),
    attribute(
        "language",
        "preference",
        "me person",
        "language",
        say="""{who} [am] learning {v}
            {who} [take|takes] lessons in {v}
            {who} [study|studies] {v} in the evening
            the language {who} [am] learning is {v}
            {who} [want|wants] to speak {v} well""",
        held="""{who} [have|has] lessons in {v}
            in the evening class, {who} [learn|learns] {v}""",
        ask="""which language [am] {who} learning
            what language [am] {who} learning
            what language [do|does] {who} study""",
        ask_held="""in what language [do|does] {who} have lessons
            what [do|does] {who} learn in the evening class""",
        about="which language {who} [am] learning",
        about_held="what language {who} [have|has] lessons in",
        answer="{who} [am] learning {v}",
    ),
    attribute(
        "hobby",
        "preference",
        "me person",
        "hobby",
        noun="hobby",
        say="""in free time, {who} [enjoy|enjoys] {v}
            {who} [spend|spends] every weekend on {v}
            what {who} [enjoy|enjoys] most is {v}""",
        held="on weekends, {who} [love|loves] {v}",
        ask="""which hobby [do|does] {who} have
            what [do|does] {who} enjoy in free time
            what [do|does] {who} do on weekends""",
        ask_held="on what [do|does] {who} spend every weekend",
        about="what {who} [enjoy|enjoys] in free time",
        about_held="what {who} [love|loves] to do on weekends",
    ),
    attribute(
        "collects",
        "preference",
        "me person",
        "plurals",
        say="""{who} [collect|collects] {v}
            {who} [have|has] a large collection of {v}
            {whose} house is full of old {v}
            {who} [have|has] collected {v} since childhood
            the things {who} [collect|collects] are {v}""",
        held="""{whose} collection is made of {v}
            for years {who} [have|has] been buying old {v}""",
        ask="""what [do|does] {who} collect
            what does {whose} collection hold
            which things [do|does] {who} collect""",
        ask_held="""of what [do|does] {who} have a collection
            what is in {whose} collection""",
        about="what {who} [collect|collects]",
        about_held="what is in {whose} collection",
        answer="{who} [collect|collects] {v}",
    ),
    attribute(
        "spouse",
        "name",
        "me person",
        "name",
        say="""{who} [am] married to {v}
            {who} married {v}
            {whose} other half is called {v}
            the person {who} married is {v}
            {who} [have|has] been married to {v} for years""",
        held="""{who} [share|shares] a home and a ring with {v}
            at the wedding {who} said yes to {v}""",
        ask="""who [am] {who} married to
            who did {who} marry
            what is the name of the person {who} married""",
        ask_held="""to whom [am] {who} married
            what is {whose} other half called""",
        about="who {who} [am] married to",
        about_held="who {who} married at the wedding",
        answer="{who} [am] married to {v}",
    ),
    attribute(
        "friend",
        "name",
        "me person",
        "name",
        noun="best friend",
        say="""the best friend {who} [have|has] is {v}
            {who} [have|has] a best friend called {v}
            {whose} best friend is called {v}""",
        held="of all friends, {v} is the best one {who} [have|has]",
        ask="""who is {whose} best friend
            what is {whose} best friend called""",
        ask_held="what is the name of {whose} best friend",
        about="who {whose} best friend is",
        about_held="the name of {whose} best friend",
    ),
    attribute(
        "boss",
        "name",
        "me person",
        "full_name",
        noun="boss",
        say="""{whose} new boss is called {v}
            at work, {who} [answer|answers] to {v}
            the boss {who} [work|works] under is {v}""",
        held="the boss at {whose} work is {v}",
        ask="""who is {whose} boss
            what is {whose} boss called""",
        ask_held="who is the boss at {whose} work",
        about="who {whose} boss is",
        about_held="the name of {whose} boss",
    ),
    attribute(
        "saturday",
        "plan",
        "me person",
        "town",
        say="""on Saturday {who} will go to {v}
            {who} [plan|plans] to be in {v} on Saturday
            {who} [am] going to {v} on Saturday
            {whose} plan for Saturday is a visit to {v}
            {who} will spend Saturday in {v}""",
        held="""this Saturday, {who} [want|wants] to see {v}
            for Saturday, {who} [have|has] a trip to {v} in mind""",
        ask="""where will {who} go on Saturday
            where [am] {who} going on Saturday
            which town will {who} visit on Saturday""",
        ask_held="""what town will {who} be in on Saturday
            where will {who} spend Saturday""",
        about="where {who} [am] going on Saturday",
        about_held="in which town {who} will spend Saturday",
        answer="on Saturday {who} will go to {v}",
    ),
)
