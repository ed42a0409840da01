"""Ordinary words for values: names, towns, foods and so on. Each list is filtered by split."""

from __future__ import annotations


def commas(text: str) -> tuple[str, ...]:
    """The parts between commas, without repeats."""
    return tuple(dict.fromkeys(" ".join(part.split()) for part in text.split(",") if part.strip()))


def words(text: str) -> tuple[str, ...]:
    """The words of a text, without repeats."""
    return tuple(dict.fromkeys(text.split()))


FIRST_NAMES = words("""
Adam Adele Agnes Ahmed Aisha Alan Albert Alice Alma Amara Amelia Amir Anders Andrea Anita Anna
Anton Arthur Astrid Aurora Barbara Basil Beatrice Ben Bernard Bianca Boris Brenda Bruno Camille
Carla Carlos Cecil Celia Charles Chiara Chloe Clara Claude Clive Conrad Cora Cyril Daisy Daniel
Daphne David Deborah Denis Diana Diego Dora Doris Edgar Edith Edmund Elena Elias Elisa Ella Elsa
Emil Emily Emma Enid Eric Erika Ernest Esther Ethan Eva Fatima Felix Fiona Flora Frances Frank
Freya Gabriel Gemma George Gerda Gina Gloria Grace Greta Gustav Hana Hannah Harold Harry Hassan
Hazel Hector Heidi Helen Henry Hilda Hugo Ian Ida Igor Ines Ingrid Irene Iris Isaac Isabel Ivan
Ivy Jack Jacob James Jana Jane Jasmine Jean Joan Johan John Jonas Joseph Josephine Judith Julia
Julian Karen Karl Kate Keith Kenji Kevin Kim Kurt Lara Laura Lena Leo Leon Leonard Lewis Lily
Linda Lisa Louis Louise Lucas Lucy Luis Lydia Mabel Magnus Marco Margaret Maria Marina Mario Mark
Marta Martha Martin Mary Matilda Max Maya Michael Milan Mina Miriam Mona Muriel Nadia Nancy Naomi
Nathan Nell Nicholas Nina Noah Nora Norman Olaf Olga Oliver Olivia Omar Oscar Otto Pablo Patrick
Paul Paula Pedro Peter Petra Philip Phoebe Priya Quentin Rachel Ralph Ravi Raymond Rebecca Rita
Robert Robin Roger Roland Rosa Rose Ruby Rufus Rupert Ruth Sabine Sally Samir Samuel Sandra Sara
Sarah Sasha Selma Sidney Sigrid Silvia Simon Sofia Sophie Stefan Stella Stephen Susan Sven Sylvia
Tamara Tanya Teresa Theo Theodore Thomas Tilda Tobias Tom Tomas Ursula Valerie Vera Victor Viktor
Viola Violet Vivian Walter Wanda Wendy Wilfred William Winifred Xenia Yara Yasmin Yuki Yusuf Yvonne
Zara Zelda Zoe
""")
SURNAMES = words("""
Abbott Adler Archer Atkins Bailey Baker Barlow Barnes Becker Bell Bennett Berg Bishop Black Booth
Bowen Brandt Brook Burton Carter Castle Chapman Clark Cole Conway Cooper Cox Crane Cross Dale Day
Dixon Drake Duncan Ellis Evans Farrell Fischer Fletcher Ford Foster Fox Garner Gibbs Gordon Grant
Gray Griffin Hale Hardy Harper Hart Hayes Hill Holm Howard Hughes Hunt Jansen Jarvis Keller Kent
King Knight Lang Larsen Lowe Marsh Mason Meyer Miller Mills Moore Morgan Moss Nash Novak Owen Page
Palmer Parker Pearce Perry Pike Porter Pratt Price Quinn Reed Reyes Rhodes Rivera Rossi Rowe Russo
Sharp Shaw Silva Stone Summers Sutton Tanner Thorne Tucker Turner Vance Vogel Wagner Walsh Ward
Warren Watts Webb Weber West Wolfe Wood Wright Yates Young
""")
TOWNS = words("""
Aberdeen Ankara Antwerp Athens Avignon Baltimore Barcelona Basel Bath Bergen Berlin Bilbao Bologna
Bombay Bonn Boston Bremen Brighton Bristol Brno Brussels Budapest Buffalo Cadiz Cairo Calgary
Cambridge Canterbury Cardiff Carlisle Chester Chicago Cologne Copenhagen Cork Dallas Delft Denver
Derby Detroit Dijon Dover Dresden Dublin Dundee Durham Edinburgh Essen Exeter Florence Frankfurt
Galway Gdansk Geneva Genoa Ghent Glasgow Granada Graz Grenoble Hamburg Hanover Hastings Helsinki
Houston Innsbruck Inverness Istanbul Jakarta Kassel Kiev Krakow Kyoto Lagos Lausanne Leeds Leipzig
Lille Lima Limerick Linz Lisbon Liverpool London Lucerne Lund Lyon Madrid Mainz Malmo Manchester
Manila Marseille Memphis Milan Montreal Munich Nairobi Nantes Naples Nashville Newcastle Nice
Norwich Nottingham Odense Odessa Oslo Ottawa Oxford Padua Palermo Paris Perth Phoenix Pisa Plymouth
Porto Portsmouth Potsdam Prague Quebec Ravenna Reading Reims Riga Rome Rotterdam Rouen Salzburg
Santiago Seattle Seoul Seville Sheffield Siena Sofia Stockholm Strasbourg Stuttgart Swansea Sydney
Tallinn Tampere Tokyo Toledo Toronto Toulouse Trieste Turin Turku Uppsala Utrecht Valencia Venice
Verona Vienna Vilnius Warsaw Wells Weimar Winchester Worcester York Zagreb Zurich
""")
COLOURS = words("""
red blue green yellow orange purple pink brown black white grey silver golden violet scarlet crimson
maroon navy turquoise teal indigo lilac lavender magenta beige cream ivory amber copper bronze ochre
khaki olive emerald jade mint coral salmon peach apricot rust burgundy azure cobalt charcoal mustard
plum sapphire
""")
FOODS = commas("""
lasagne, risotto, ravioli, pizza, spaghetti, goulash, paella, sushi, ramen, curry, chili, tacos,
burritos, falafel, hummus, couscous, moussaka, pancakes, waffles, porridge, omelette, pumpkin soup,
tomato soup, onion soup, lentil soup, fish pie, shepherd's pie, apple pie, roast chicken, roast
beef,
lamb stew, beef stew, dumplings, pierogi, noodles, gnocchi, quiche, fried rice, baked potatoes,
potato salad, fish and chips, sausages, meatballs, schnitzel, trout, lobster, mussels, oysters,
cheesecake, carrot cake, brownies, rice pudding, scones, crumpets, strudel, tiramisu, gingerbread,
shortbread, marzipan, nougat, sardines, polenta, kebab, borscht, sauerkraut, pretzels, macaroni,
mushroom pie, cherry tart, lemon tart, plum cake, honey cake
""")
DRINKS = words("""
tea coffee cocoa lemonade cider espresso cappuccino milk water juice ginger-ale kombucha champagne
sherry port whisky gin rum vodka ale stout lager tonic buttermilk cordial elderflower chai matcha
mead punch soda
""")
INGREDIENTS = words("""
almonds walnuts hazelnuts peanuts cashews raisins dates figs prunes apples pears plums cherries
bananas lemons limes oranges grapes melon mango papaya pineapple coconut strawberries raspberries
blueberries tomatoes onions garlic leeks celery carrots spinach kale cabbage beetroot radishes
pumpkin courgettes aubergines peppers mushrooms beans peas lentils chickpeas barley oats rye wheat
rice butter cream yoghurt cheese eggs shrimp crab tuna salmon anchovies bacon ham honey mustard
vinegar cinnamon nutmeg cloves saffron thyme basil parsley mint rosemary sage dill fennel cumin
paprika turmeric vanilla sesame soy gluten latex pollen penicillin aspirin wool dust
""")
JOBS = words("""
accountant actor architect artist astronomer baker banker barber beekeeper biologist blacksmith
bookseller botanist brewer bricklayer butcher carpenter chemist clerk coach cook dancer dentist
designer detective diver doctor driver editor electrician engineer farmer firefighter fisherman
florist gardener geologist glazier goldsmith hairdresser historian illustrator innkeeper inspector
interpreter janitor jeweller journalist judge lawyer lecturer librarian locksmith mechanic midwife
miner musician nurse optician painter pharmacist photographer physicist pilot plumber poet
policeman porter postman potter printer programmer psychologist ranger receptionist roofer sailor
sculptor secretary shepherd singer surgeon surveyor tailor teacher translator typist vet waiter
watchmaker weaver welder
""")
INSTRUMENTS = words("""
piano violin cello guitar flute clarinet oboe bassoon trumpet trombone tuba horn harp drums organ
accordion banjo mandolin saxophone viola ukulele harmonica recorder xylophone harpsichord bagpipes
zither lute fiddle cornet
""")
LANGUAGES = words("""
French German Spanish Italian Portuguese Dutch Danish Swedish Norwegian Finnish Polish Czech Slovak
Hungarian Romanian Bulgarian Greek Turkish Arabic Hebrew Persian Hindi Bengali Tamil Thai Vietnamese
Chinese Japanese Korean Mongolian Latin Welsh Irish Gaelic Basque Catalan Estonian Latvian Russian
Ukrainian Georgian Armenian Swahili Zulu Icelandic Maltese
""")
HOBBIES = words("""
fishing painting knitting sailing chess climbing pottery cycling swimming rowing archery fencing
gardening baking dancing juggling skating skiing surfing hiking running singing drawing carving
sewing weaving origami photography astronomy birdwatching beekeeping calligraphy cooking yoga judo
karate tennis golf badminton cricket hockey rugby football volleyball bowling darts billiards
embroidery brewing riding kayaking snooker poker bridge canasta crosswords genealogy
""")
CARS = words("""
Volvo Fiat Toyota Ford Honda Skoda Renault Peugeot Citroen Opel Audi Saab Mazda Nissan Subaru Suzuki
Kia Hyundai Jaguar Lancia Dacia Seat Volkswagen Chevrolet Buick Cadillac Chrysler Dodge Jeep Lexus
Mini Rover Bentley Porsche Lada Trabant Vauxhall Tesla Mitsubishi
""")
NOUNS = words("""
anchor apron arrow badge ball banner barrel basin basket battery bell belt bench bicycle blanket
boot bottle bowl bracelet brick bridge broom brush bucket button cabinet camera candle canoe cap
carpet cart chain chair chest clock coat comb compass cork cradle crown cup curtain cushion desk
diamond doll door drum easel envelope fan feather fence fiddle flag flask fork fountain frame
funnel glove goblet hammer hammock harp hat helmet hook hose jacket jar jug kettle key kite knife
ladder lamp lantern lens lever lock loom magnet mallet map marble mask mat mattress medal mirror
mitten mug nail necklace needle net notebook oar oven paddle parasol parcel pebble pencil pen
piano pillow pin pipe pitcher plate pot purse puzzle quilt radio raft rake razor ribbon ring robe
rocket rope ruler saddle sandal saw scale scarf screw shawl shell shield shirt shovel sickle sieve
sled slipper soap sofa spade spear spoon stamp statue stool stove string suitcase sundial sweater
sword table tablet telescope tent thimble ticket tile torch towel toy tray trumpet trunk tub
umbrella urn vase violin wagon wallet watch wheel whistle wig window wreath yarn
""")
PLURALS = words("""
stamps coins shells buttons postcards maps clocks teapots spoons thimbles marbles feathers fossils
masks bottles kites candles lanterns records comics ribbons badges dolls puppets keys bells hats
umbrellas fans vases mugs tiles baskets carpets mirrors knives ropes tents boots gloves scarves
blankets cushions toys puzzles bicycles cameras radios watches rings bracelets necklaces seeds bulbs
pots brushes paints pencils notebooks envelopes
""")
ANIMALS = words("""
Lion Bear Fox Wolf Eagle Falcon Hawk Owl Raven Swan Heron Stag Hare Badger Otter Beaver Boar Bull
Ram Horse Dolphin Whale Salmon Trout Pike Turtle Dragon Griffin Unicorn Phoenix Sparrow Robin
Pelican Crane Peacock Tiger Panther Leopard Lynx Cobra Viper Hornet Beetle Spider
""")
PLACES = words("""
attic cellar garage kitchen shed hallway pantry office bathroom bedroom library workshop wardrobe
cupboard basement stable barn boathouse greenhouse laundry balcony porch studio nursery larder
bookcase sideboard chest cabinet safe locker trunk suitcase drawer toolbox glovebox
""")
