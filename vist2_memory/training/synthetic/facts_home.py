"""Facts about people: where they live, what they do and like."""

from __future__ import annotations

from vist2_memory.training.synthetic.attributes import Attribute, attribute

HOME: tuple[Attribute, ...] = (
    attribute(
        "town",
        "place",
        "me person",
        "town",
        say="""{who} [live|lives] in {v}
            {whose} home is in {v}
            {who} [have|has] lived in {v} for years
            {who} [have|has] a small flat in {v}
            {v} is where {who} [live|lives]""",
        held="""the town where {who} [live|lives] is {v}
            {who} [have|has] a home in {v}""",
        ask="""where [do|does] {who} live
            which town [do|does] {who} live in
            what town [do|does] {who} live in
            in which town [do|does] {who} live""",
        ask_held="""in what town is {whose} home
            where is {whose} home""",
        about="""where {who} [live|lives]
            which town {who} [live|lives] in""",
        about_held="in which place {who} [live|lives]",
        answer="{who} [live|lives] in {v}",
        change="""{who} [have|has] moved to {v}
            {who} now [live|lives] in {v}""",
    ),
    attribute(
        "street",
        "place",
        "me person",
        "street",
        noun="street",
        say="""the street {who} [live|lives] in is called {v}
            {whose} house is in {v}
            {whose} address is in {v}""",
        held="the house {who} [have|has] stands in {v}",
        ask="""which street [do|does] {who} live in
            what street is {whose} house in
            on which street is {whose} house""",
        ask_held="""what is the name of {whose} street
            in which street is {whose} home""",
        about="""which street {who} [live|lives] in
            the name of {whose} street""",
        about_held="in which street {whose} home is",
        change="{who} [have|has] moved, and {whose} new street is {v}",
    ),
    attribute(
        "house_number",
        "number",
        "me person",
        "number",
        noun="house number",
        say="""{who} [live|lives] at number {v}
            the number on {whose} door is {v}
            {whose} house has the number {v}""",
        held="{whose} home is the one with number {v}",
        ask="""what number is {whose} house
            at which number [do|does] {who} live""",
        ask_held="which number is on {whose} door",
        about="the number of {whose} house",
        about_held="which number {whose} house has",
    ),
    attribute(
        "phone",
        "number",
        "me person",
        "phone",
        noun="phone number",
        say="""you can reach {whom} at {v}
            the number to call {whom} is {v}
            to call {whom}, dial {v}""",
        held="if you want to call {whom}, the number is {v}",
        ask="""what number can {who} be reached at
            how can {who} be reached by phone""",
        ask_held="which phone number [do|does] {who} have",
        about="the number to reach {whom}",
        about_held="which phone number {who} [have|has]",
    ),
    attribute(
        "birthday",
        "date",
        "me person",
        "date",
        noun="birthday",
        say="""{who} [was] born on {v}
            {whose} birthday falls on {v}
            we always celebrate {whose} birthday on {v}""",
        held="the day {who} [was] born is {v}",
        ask="""when is {whose} birthday
            on what date is {whose} birthday
            when [was] {who} born""",
        ask_held="""on which day is {whose} birthday
            what day [was] {who} born""",
        about="""when {whose} birthday is
            the date of {whose} birthday""",
        about_held="on which day {who} [was] born",
        answer="{whose} birthday is on {v}",
    ),
    attribute(
        "employer",
        "name",
        "me person",
        "firm",
        say="""{who} [work|works] for {v}
            {who} [work|works] at {v}
            {who} [have|has] a job at {v}
            {whose} employer is {v}
            the company {who} [work|works] for is called {v}""",
        held="""the firm that employs {whom} is {v}
            the company where {who} [have|has] a job is {v}""",
        ask="""where [do|does] {who} work
            which company [do|does] {who} work for
            who [do|does] {who} work for
            what is {whose} employer called""",
        ask_held="""what is the company that {who} [work|works] at
            at which company [do|does] {who} have a job""",
        about="""which company {who} [work|works] for
            the name of {whose} employer""",
        about_held="the company where {who} [have|has] a job",
        answer="{who} [work|works] for {v}",
        change="{who} [have|has] changed jobs and now [work|works] for {v}",
    ),
    attribute(
        "job",
        "name",
        "me person",
        "job",
        noun="job",
        say="""{who} [work|works] as {av}
            {who} [am] {av}
            {who} [am] {av} by trade
            {who} [earn|earns] a living as {av}""",
        held="""for a living, {who} [am] {av}
            {whose} work is that of {av}""",
        ask="""what [do|does] {who} do for a living
            what [am] {who} by trade
            what [do|does] {who} work as""",
        ask_held="""what kind of work [do|does] {who} do
            as what [do|does] {who} earn a living""",
        about="what {who} [do|does] for a living",
        about_held="what kind of work {who} [do|does]",
        answer="{who} [work|works] as {av}",
        change="{who} [work|works] as {av} these days",
    ),
    attribute(
        "shoe",
        "number",
        "me person",
        "size",
        noun="shoe size",
        say="""{who} [take|takes] shoes in size {v}
            {who} [wear|wears] size {v} shoes
            in shoes, {who} [need|needs] size {v}""",
        held="shoes for {whom} must be size {v}",
        ask="""what size shoes [do|does] {who} wear
            which shoe size [do|does] {who} have""",
        ask_held="""which size of shoes [do|does] {who} need
            how big are {whose} shoes""",
        about="what size {whose} shoes are",
        about_held="which size of shoes {who} [need|needs]",
    ),
    attribute(
        "colour",
        "preference",
        "me person",
        "colour",
        noun="favourite colour",
        say="""{who} [like|likes] {v} more than any other colour
            the colour {who} [love|loves] most is {v}
            of all colours, {who} [like|likes] {v} best""",
        held="the colour {who} [prefer|prefers] is {v}",
        ask="""which colour [do|does] {who} like best
            what colour [do|does] {who} love most""",
        ask_held="which is the colour {who} [like|likes] most",
        about="which colour {who} [like|likes] best",
        about_held="which colour {who} [love|loves] most",
    ),
    attribute(
        "food",
        "preference",
        "me person",
        "dish",
        noun="favourite food",
        say="""{who} [love|loves] {v} more than any other food
            the dish {who} [like|likes] best is {v}
            nothing makes {whom} happier than {v}
            {who} could eat {v} every day""",
        held="""the food {who} [love|loves] most is {v}
            for dinner {who} always [want|wants] {v}""",
        ask="""what food [do|does] {who} like best
            which dish [do|does] {who} like best
            what [do|does] {who} love to eat""",
        ask_held="""what dish [do|does] {who} love most
            what could {who} eat every day""",
        about="which food {who} [like|likes] best",
        about_held="what {who} [love|loves] to eat most",
    ),
    attribute(
        "drink",
        "preference",
        "me person",
        "drink",
        noun="favourite drink",
        say="""{who} always [drink|drinks] {v}
            when thirsty, {who} [ask|asks] for {v}
            the drink {who} [like|likes] best is {v}""",
        held="to drink, {who} [like|likes] {v} best",
        ask="""what [do|does] {who} like to drink
            which drink [do|does] {who} like best""",
        ask_held="""what drink [do|does] {who} love most
            what [do|does] {who} always ask for to drink""",
        about="what {who} [like|likes] to drink",
        about_held="which drink {who} [love|loves] most",
    ),
    attribute(
        "allergy",
        "name",
        "me person",
        "ingredient",
        say="""{who} [am] allergic to {v}
            {who} [have|has] an allergy to {v}
            the doctor says that {who} [am] allergic to {v}
            {whose} body cannot take {v}
            {who} must never have {v} because of an allergy""",
        held="""{whose} allergy is to {v}
            {who} cannot have {v} because of an allergy""",
        ask="""what [am] {who} allergic to
            which allergy [do|does] {who} have
            what is {whose} allergy""",
        ask_held="""what must {who} never have because of an allergy
            to what [am] {who} allergic""",
        about="""what {who} [am] allergic to
            {whose} allergy""",
        about_held="what {whose} allergy is",
        answer="{who} [am] allergic to {v}",
    ),
)
