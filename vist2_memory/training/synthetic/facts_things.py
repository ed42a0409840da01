"""Facts about things, projects and shops."""

from __future__ import annotations

from vist2_memory.training.synthetic.attributes import Attribute, attribute

THINGS: tuple[Attribute, ...] = (
    attribute(
        "spot",
        "place",
        "thing",
        "spot",
        say="""{who} is in {v}
            I put {who} in {v}
            I keep {who} in {v}
            {who} lies in {v}
            you will find {who} in {v}
            we always keep {who} in {v}""",
        held="""the place for {who} is in {v}
            I left {who} in {v}""",
        ask="""where is {who}
            where did I put {who}
            where do I keep {who}
            in which place is {who}""",
        ask_held="""where can I find {who}
            where did I leave {who}""",
        about="""where {who} is
            where I put {who}""",
        about_held="where I left {who}",
        answer="{who} is in {v}",
        change="""I moved {who}, it is in {v} now
            {who} now lies in {v}""",
    ),
    attribute(
        "owner",
        "name",
        "thing",
        "name",
        say="""{who} belongs to {v}
            the owner of {who} is {v}
            {who} is the property of {v}
            {v} is the owner of {who}
            I have to give {who} back to {v}""",
        held="""{v} owns {who}
            the person who owns {who} is {v}""",
        ask="""who does {who} belong to
            who is the owner of {who}
            whose is {who}
            to whom do I have to give {who} back""",
        ask_held="""who owns {who}
            what is the name of the owner of {who}""",
        about="""who {who} belongs to
            the owner of {who}""",
        about_held="who owns {who}",
        answer="{who} belongs to {v}",
    ),
    attribute(
        "price",
        "number",
        "thing",
        "price",
        say="""{who} cost {v}
            I paid {v} for {who}
            the price of {who} was {v}
            I bought {who} for {v}
            they asked {v} for {who}""",
        held="""the money I paid for {who} was {v}
            for {who} I gave {v}""",
        ask="""how much did {who} cost
            what did I pay for {who}
            how much did I pay for {who}
            what was the price of {who}""",
        ask_held="""for what price did I buy {who}
            how much money was {who}""",
        about="""how much {who} cost
            the price of {who}""",
        about_held="how much money I paid for {who}",
        answer="{who} cost {v}",
    ),
    attribute(
        "lock",
        "number",
        "thing",
        "pin",
        say="""the number on {who} is {v}
            {who} has the number {v}
            the label on {who} says {v}
            {who} is marked {v}
            on {who} it says {v}""",
        held="""there is a number on {who}, and it is {v}
            I read {v} on {who}""",
        ask="""what number is on {who}
            which number does {who} have
            what does it say on {who}""",
        ask_held="""how is {who} marked
            what does the label on {who} say""",
        about="""the number on {who}
            which number is on {who}""",
        about_held="what it says on {who}",
        answer="the number on {who} is {v}",
    ),
    attribute(
        "bought_in",
        "place",
        "thing",
        "town",
        say="""I bought {who} in {v}
            {who} comes from {v}
            I found {who} in {v}
            I got {who} on a trip to {v}
            the shop where I bought {who} is in {v}""",
        held="""the town where I found {who} is {v}
            it was in {v} that I bought {who}""",
        ask="""where did I buy {who}
            in which town did I buy {who}
            where does {who} come from
            where did I find {who}""",
        ask_held="""in what town did I find {who}
            from which place does {who} come""",
        about="""where I bought {who}
            which town {who} comes from""",
        about_held="in which town I found {who}",
        answer="you bought {who} in {v}",
    ),
    attribute(
        "lead",
        "name",
        "project",
        "full_name",
        say="""{who} is led by {v}
            the head of {who} is {v}
            {v} leads {who}
            {v} is in charge of {who}
            the person in charge of {who} is {v}""",
        held="""{v} runs {who}
            the one who leads {who} is {v}""",
        ask="""who leads {who}
            who is in charge of {who}
            who is the head of {who}""",
        ask_held="""who runs {who}
            by whom is {who} led""",
        about="""who leads {who}
            who is in charge of {who}""",
        about_held="who runs {who}",
        answer="{who} is led by {v}",
        change="{v} has taken over {who}",
    ),
    attribute(
        "deadline",
        "date",
        "project",
        "date",
        say="""{who} must be finished by {v}
            the deadline for {who} is {v}
            {who} is due on {v}
            {who} ends on {v}
            we have to finish {who} by {v}""",
        held="""the last day for {who} is {v}
            we have until {v} for {who}""",
        ask="""when is {who} due
            what is the deadline for {who}
            when must {who} be finished
            by when do we have to finish {who}""",
        ask_held="""what is the last day for {who}
            when does {who} end""",
        about="""when {who} is due
            the deadline for {who}""",
        about_held="when {who} must be finished",
        answer="{who} is due on {v}",
        change="{who} has been moved, it is due on {v}",
    ),
    attribute(
        "budget",
        "number",
        "project",
        "price",
        say="""the budget for {who} is {v}
            {who} has a budget of {v}
            we can spend {v} on {who}
            there is {v} for {who}
            the bank gave us {v} for {who}""",
        held="""the money for {who} is {v}
            {who} may cost {v}""",
        ask="""what is the budget for {who}
            how much can we spend on {who}
            how much money is there for {who}""",
        ask_held="""how much may {who} cost
            what is the money we have for {who}""",
        about="""the budget for {who}
            how much we can spend on {who}""",
        about_held="how much {who} may cost",
        answer="the budget for {who} is {v}",
    ),
    attribute(
        "client",
        "name",
        "project",
        "firm",
        say="""{who} is for {v}
            the client for {who} is {v}
            we do {who} for {v}
            {v} ordered {who}
            {v} pays for {who}""",
        held="""the company that ordered {who} is {v}
            the firm that pays for {who} is {v}""",
        ask="""who is the client for {who}
            who ordered {who}
            which company is {who} for
            for whom do we do {who}""",
        ask_held="""which firm pays for {who}
            what is the client for {who} called""",
        about="""who ordered {who}
            the client for {who}""",
        about_held="which company pays for {who}",
        answer="the client for {who} is {v}",
    ),
    attribute(
        "closes",
        "date",
        "shop",
        "time",
        say="""{who} closes at {v}
            {who} is open until {v}
            the doors of {who} shut at {v}
            you have to be at {who} before {v}, when it closes
            {who} stays open until {v}""",
        held="""the closing time of {who} is {v}
            after {v} nobody gets into {who}""",
        ask="""when does {who} close
            how long is {who} open
            what time does {who} close
            until when is {who} open""",
        ask_held="""at what time do the doors of {who} shut
            what is the closing time of {who}""",
        about="""when {who} closes
            how long {who} is open""",
        about_held="at what time {who} closes",
        answer="{who} closes at {v}",
        change="{who} has new hours and closes at {v}",
    ),
    attribute(
        "sells",
        "name",
        "shop",
        "plurals",
        say="""{who} sells {v}
            I buy my {v} at {who}
            the best {v} come from {who}
            {who} has good {v}
            you can get {v} at {who}""",
        held="""at {who} they have {v}
            if you want {v}, go to {who}""",
        ask="""what does {who} sell
            what can I buy at {who}
            what do they sell at {who}""",
        ask_held="""which things does {who} have
            what can one get at {who}""",
        about="""what {who} sells
            what they sell at {who}""",
        about_held="what one can get at {who}",
        answer="{who} sells {v}",
    ),
    attribute(
        "shop_street",
        "place",
        "shop",
        "street",
        say="""{who} is in {v}
            you will find {who} in {v}
            the address of {who} is {v}
            {who} has its door in {v}
            the street of {who} is {v}""",
        held="""to find {who}, go to {v}
            {who} stands in {v}""",
        ask="""which street is {who} in
            where is {who}
            what is the address of {who}
            in which street is {who}""",
        ask_held="""where can I find {who}
            in what street does {who} stand""",
        about="""where {who} is
            which street {who} is in""",
        about_held="in what street I can find {who}",
        answer="{who} is in {v}",
        change="{who} has moved to {v}",
    ),
    attribute(
        "shop_phone",
        "number",
        "shop",
        "phone",
        say="""the phone number of {who} is {v}
            to call {who}, dial {v}
            you can reach {who} at {v}
            {who} has the phone number {v}
            the number for {who} is {v}""",
        held="""if you want to call {who}, the number is {v}
            the phone at {who} has the number {v}""",
        ask="""what is the phone number of {who}
            what number does {who} have
            what is the number for {who}""",
        ask_held="""which number do I call for {who}
            how can I reach {who} by phone""",
        about="""the phone number of {who}
            the number for {who}""",
        about_held="which number to call for {who}",
        answer="the phone number of {who} is {v}",
    ),
)
