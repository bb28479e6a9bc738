# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Class names of public datasets whose models carry no names of their own, in the order of their contiguous ids."""

# COCO panoptic, 2017: 80 things by category id, then 53 stuff classes by category id.
COCO_PANOPTIC = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
    "banner",
    "blanket",
    "bridge",
    "cardboard",
    "counter",
    "curtain",
    "door-stuff",
    "floor-wood",
    "flower",
    "fruit",
    "gravel",
    "house",
    "light",
    "mirror-stuff",
    "net",
    "pillow",
    "platform",
    "playingfield",
    "railroad",
    "river",
    "road",
    "roof",
    "sand",
    "sea",
    "shelf",
    "snow",
    "stairs",
    "tent",
    "towel",
    "wall-brick",
    "wall-stone",
    "wall-tile",
    "wall-wood",
    "water-other",
    "window-blind",
    "window-other",
    "tree-merged",
    "fence-merged",
    "ceiling-merged",
    "sky-other-merged",
    "cabinet-merged",
    "table-merged",
    "floor-other-merged",
    "pavement-merged",
    "mountain-merged",
    "grass-merged",
    "dirt-merged",
    "paper-merged",
    "food-other-merged",
    "building-other-merged",
    "rock-merged",
    "wall-other-merged",
    "rug-merged",
]
COCO_PANOPTIC_THINGS = 80

# Cityscapes, 19 training classes; things are 11 to 18.
CITYSCAPES = [
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
]
CITYSCAPES_STUFF = list(range(11))
# Their label ids; the others of 0 to 33 are not evaluated.
CITYSCAPES_LABEL_IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


def _split_names(text: str) -> list[str]:
    """Splits names that are separated by semicolons, whatever the line breaks."""
    return " ".join(text.split()).split("; ")


# COCO-Stuff 164k: 80 things, then 91 stuff classes.
COCO_STUFF = _split_names(
    """
person; bicycle; car; motorcycle; airplane; bus; train; truck; boat; traffic light; fire hydrant; stop sign; parking
meter; bench; bird; cat; dog; horse; sheep; cow; elephant; bear; zebra; giraffe; backpack; umbrella; handbag; tie;
suitcase; frisbee; skis; snowboard; sports ball; kite; baseball bat; baseball glove; skateboard; surfboard; tennis
racket; bottle; wine glass; cup; fork; knife; spoon; bowl; banana; apple; sandwich; orange; broccoli; carrot; hot dog;
pizza; donut; cake; chair; couch; potted plant; bed; dining table; toilet; tv; laptop; mouse; remote; keyboard; cell
phone; microwave; oven; toaster; sink; refrigerator; book; clock; vase; scissors; teddy bear; hair drier; toothbrush;
banner; blanket; branch; bridge; building-other; bush; cabinet; cage; cardboard; carpet; ceiling-other; ceiling-tile;
cloth; clothes; clouds; counter; cupboard; curtain; desk-stuff; dirt; door-stuff; fence; floor-marble; floor-other;
floor-stone; floor-tile; floor-wood; flower; fog; food-other; fruit; furniture-other; grass; gravel; ground-other;
hill; house; leaves; light; mat; metal; mirror-stuff; moss; mountain; mud; napkin; net; paper; pavement; pillow;
plant-other; plastic; platform; playingfield; railing; railroad; river; road; rock; roof; rug; salad; sand; sea;
shelf; sky-other; skyscraper; snow; solid-other; stairs; stone; straw; structural-other; table; tent; textile-other;
towel; tree; vegetable; wall-brick; wall-concrete; wall-other; wall-panel; wall-stone; wall-tile; wall-wood;
water-other; waterdrops; window-blind; window-other; wood
"""
)
# Ids of COCO-Stuff's label list (1 to 182) that no image has; the maps hold id - 1, and 255 for unlabeled.
# fmt: off
COCO_STUFF_MISSING_IDS = [
    12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91,
]
# fmt: on

# ADE20K scene parsing: 150 classes (a map holds class + 1, 0 is other), of which 100 are things.
ADE20K = _split_names(
    """
wall; building; sky; floor; tree; ceiling; road, route; bed; window; grass; cabinet; sidewalk, pavement; person;
earth, ground; door; table; mountain, mount; plant; curtain; chair; car; water; painting, image; sofa; shelf; house;
sea; mirror; rug; field; armchair; seat; fence; desk; rock, stone; wardrobe, closet, press; lamp; tub; rail; cushion;
base, pedestal, stand; box; column, pillar; signboard, sign; chest of drawers, chest, bureau, dresser; counter; sand;
sink; skyscraper; fireplace; refrigerator, icebox; grandstand, covered stand; path; stairs; runway; case, display
case, showcase, vitrine; pool table, billiard table, snooker table; pillow; screen door, screen; stairway, staircase;
river; bridge, span; bookcase; blind, screen; coffee table; toilet, can, commode, crapper, pot, potty, stool, throne;
flower; book; hill; bench; countertop; stove; palm, palm tree; kitchen island; computer; swivel chair; boat; bar;
arcade machine; hovel, hut, hutch, shack, shanty; bus; towel; light; truck; tower; chandelier; awning, sunshade,
sunblind; street lamp; booth; tv; plane; dirt track; clothes; pole; land, ground, soil; bannister, banister,
balustrade, balusters, handrail; escalator, moving staircase, moving stairway; ottoman, pouf, pouffe, puff, hassock;
bottle; buffet, counter, sideboard; poster, posting, placard, notice, bill, card; stage; van; ship; fountain; conveyer
belt, conveyor belt, conveyer, conveyor, transporter; canopy; washer, automatic washer, washing machine; plaything,
toy; pool; stool; barrel, cask; basket, handbasket; falls; tent; bag; minibike, motorbike; cradle; oven; ball; food,
solid food; step, stair; tank, storage tank; trade name; microwave; pot; animal; bicycle; lake; dishwasher; screen;
blanket, cover; sculpture; hood, exhaust hood; sconce; vase; traffic light; tray; trash can; fan; pier; crt screen;
plate; monitor; bulletin board; shower; radiator; glass, drinking glass; clock; flag
"""
)
# The n-th of these is class n of the instance annotation, counted from 1.
# fmt: off
ADE20K_THINGS = [
    7, 8, 10, 12, 14, 15, 18, 19, 20, 22, 23, 24, 27, 30, 31, 32, 33, 35, 36, 37, 38, 39, 41, 42, 43, 44, 45, 47,
    49, 50, 53, 55, 56, 57, 58, 62, 64, 65, 66, 67, 69, 70, 71, 72, 73, 74, 75, 76, 78, 80, 81, 82, 83, 85, 86,
    87, 88, 89, 90, 92, 93, 95, 97, 98, 102, 103, 104, 107, 108, 110, 111, 112, 115, 116, 118, 119, 120, 121, 123,
    124, 125, 126, 127, 129, 130, 132, 133, 134, 135, 136, 137, 138, 139, 142, 143, 144, 146, 147, 148, 149,
]
# fmt: on

# ADE20K, the 847 classes of the full dataset, in the order of Mask2Former's preparation.
ADE20K_FULL = _split_names(
    """
wall; building, edifice; sky; tree; road, route; floor, flooring; ceiling; bed; sidewalk, pavement; earth, ground;
cabinet; person, individual, someone, somebody, mortal, soul; grass; windowpane, window; car, auto, automobile,
machine, motorcar; mountain, mount; plant, flora, plant life; table; chair; curtain, drape, drapery, mantle, pall;
door; sofa, couch, lounge; sea; painting, image; water; mirror; house; rug, carpet, carpeting; shelf; armchair;
fence, fencing; field; lamp; rock, stone; seat; river; desk; bathtub, bathing tub, bath, tub; railing, rail;
signboard, sign; cushion; path; work surface; stairs, steps; column, pillar; sink; wardrobe, closet, press; snow;
refrigerator, icebox; base, pedestal, stand; bridge, span; blind, screen; runway; cliff, drop, drop-off; sand;
fireplace, hearth, open fireplace; pillow; screen door, screen; toilet, can, commode, crapper, pot, potty, stool,
throne; skyscraper; grandstand, covered stand; box; pool table, billiard table, snooker table; palm, palm tree; double
door; coffee table, cocktail table; counter; countertop; chest of drawers, chest, bureau, dresser; kitchen island;
boat; waterfall, falls; stove, kitchen stove, range, kitchen range, cooking stove; flower; bookcase; controls; book;
stairway, staircase; streetlight, street lamp; computer, computing machine, computing device, data processor,
electronic computer, information processing system; bus, autobus, coach, charabanc, double-decker, jitney, motorbus,
motorcoach, omnibus, passenger vehicle; swivel chair; light, light source; bench; case, display case, showcase,
vitrine; towel; fountain; embankment; television receiver, television, television set, tv, tv set, idiot box, boob
tube, telly, goggle box; van; hill; awning, sunshade, sunblind; poster, posting, placard, notice, bill, card; truck,
motortruck; airplane, aeroplane, plane; pole; tower; court; ball; aircraft carrier, carrier, flattop, attack aircraft
carrier; buffet, counter, sideboard; hovel, hut, hutch, shack, shanty; apparel, wearing apparel, dress, clothes;
minibike, motorbike; animal, animate being, beast, brute, creature, fauna; chandelier, pendant, pendent; step, stair;
booth, cubicle, stall, kiosk; bicycle, bike, wheel, cycle; doorframe, doorcase; sconce; pond; trade name, brand name,
brand, marque; bannister, banister, balustrade, balusters, handrail; bag; traffic light, traffic signal, stoplight;
gazebo; escalator, moving staircase, moving stairway; land, ground, soil; board, plank; arcade machine; eiderdown,
duvet, continental quilt; bar; stall, stand, sales booth; playground; ship; ottoman, pouf, pouffe, puff, hassock;
ashcan, trash can, garbage can, wastebin, ash bin, ash-bin, ashbin, dustbin, trash barrel, trash bin; bottle; cradle;
pot, flowerpot; conveyer belt, conveyor belt, conveyer, conveyor, transporter; train, railroad train; stool; lake;
tank, storage tank; ice, water ice; basket, handbasket; manhole; tent, collapsible shelter; canopy; microwave,
microwave oven; barrel, cask; dirt track; beam; dishwasher, dish washer, dishwashing machine; plate; screen, crt
screen; ruins; washer, automatic washer, washing machine; blanket, cover; plaything, toy; food, solid food; screen,
silver screen, projection screen; oven; stage; beacon, lighthouse, beacon light, pharos; umbrella; sculpture;
aqueduct; container; scaffolding, staging; hood, exhaust hood; curb, curbing, kerb; roller coaster; horse, equus
caballus; catwalk; glass, drinking glass; vase; central reservation; carousel; radiator; closet; machine; pier, wharf,
wharfage, dock; fan; inflatable bounce game; pitch; paper; arcade, colonnade; hot tub; helicopter; tray; partition,
divider; vineyard; bowl; bullring; flag; pot; footbridge, overcrossing, pedestrian bridge; shower; bag, traveling bag,
travelling bag, grip, suitcase; bulletin board, notice board; confessional booth; trunk, tree trunk, bole; forest;
elevator door; laptop, laptop computer; instrument panel; bucket, pail; tapestry, tapis; platform; jacket; gate;
monitor, monitoring device; telephone booth, phone booth, call box, telephone box, telephone kiosk; spotlight, spot;
ring; control panel; blackboard, chalkboard; air conditioner, air conditioning; chest; clock; sand dune; pipe, pipage,
piping; vault; table football; cannon; swimming pool, swimming bath, natatorium; fluorescent, fluorescent fixture;
statue; loudspeaker, speaker, speaker unit, loudspeaker system, speaker system; exhibitor; ladder; carport; dam;
pulpit; skylight, fanlight; water tower; grill, grille, grillwork; display board; pane, pane of glass, window glass;
rubbish, trash, scrap; ice rink; fruit; patio; vending machine; telephone, phone, telephone set; net; backpack, back
pack, knapsack, packsack, rucksack, haversack; jar; track; magazine; shutter; roof; banner, streamer; landfill; post;
altarpiece, reredos; hat, chapeau, lid; arch, archway; table game; bag, handbag, pocketbook, purse; document, written
document, papers; dome; pier; shanties; forecourt; crane; dog, domestic dog, canis familiaris; piano, pianoforte,
forte-piano; drawing; cabin; ad, advertisement, advertizement, advertising, advertizing, advert; amphitheater,
amphitheatre, coliseum; monument; henhouse; cockpit; heater, warmer; windmill, aerogenerator, wind generator; pool;
elevator, lift; decoration, ornament, ornamentation; labyrinth; text, textual matter; printer; mezzanine, first
balcony; mattress; straw; stalls; patio, terrace; billboard, hoarding; bus stop; trouser, pant; console table,
console; rack; notebook; shrine; pantry; cart; steam shovel; porch; postbox, mailbox, letter box; figurine, statuette;
recycling bin; folding screen; telescope; deck chair, beach chair; kennel; coffee maker; altar, communion table,
lord's table; fish; easel; artificial golf green; iceberg; candlestick, candle holder; shower stall, shower bath;
television stand; wall socket, wall plug, electric outlet, electrical outlet, outlet, electric receptacle; skeleton;
grand piano, grand; candy, confect; grille door; pedestal, plinth, footstall; jersey, t-shirt, tee shirt; shoe;
gravestone, headstone, tombstone; shanty; structure; rocking chair, rocker; bird; place mat; tomb; big top; gas pump,
gasoline pump, petrol pump, island dispenser; lockers; cage; finger; bleachers; ferris wheel; hairdresser chair; mat;
stands; aquarium, fish tank, marine museum; streetcar, tram, tramcar, trolley, trolley car; napkin, table napkin,
serviette; dummy; booklet, brochure, folder, leaflet, pamphlet; sand trap; shop, store; table cloth; service station;
coffin; drawer; cages; slot machine, coin machine; balcony; volleyball court; table tennis; control table; shirt;
merchandise, ware, product; railway; parterre; chimney; can, tin, tin can; tanks; fabric, cloth, material, textile;
alga, algae; system; map; greenhouse; mug; barbecue; trailer; toilet tissue, toilet paper, bathroom tissue; organ;
dishrag, dishcloth; island; keyboard; trench; basket, basketball hoop, hoop; steering wheel, wheel; pitcher, ewer;
goal; bread, breadstuff, staff of life; beds; wood; file cabinet; newspaper, paper; motorboat; rope; guitar; rubble;
scarf; barrels; cap; leaves; control tower; dashboard; bandstand; lectern; switch, electric switch, electrical switch;
baseboard, mopboard, skirting board; shower room; smoke; faucet, spigot; bulldozer; saucepan; shops; meter; crevasse;
gear; candelabrum, candelabra; sofa bed; tunnel; pallet; wire, conducting wire; kettle, boiler; bidet; baby buggy,
baby carriage, carriage, perambulator, pram, stroller, go-cart, pushchair, pusher; music stand; pipe, tube; cup;
parking meter; ice hockey rink; shelter; weeds; temple; patty, cake; ski slope; panel; wallet; wheel; towel rack,
towel horse; roundabout; canister, cannister, tin; rod; soap dispenser; bell; canvas; box office, ticket office,
ticket booth; teacup; trellis; workbench; valley, vale; toaster; knife; podium; ramp; tumble dryer; fireplug, fire
hydrant, plug; gym shoe, sneaker, tennis shoe; lab bench; equipment; rocky formation; plastic; calendar; caravan;
check-in-desk; ticket counter; brush; mill; covered bridge; bowling alley; hanger; excavator; trestle; revolving door;
blast furnace; scale, weighing machine; projector; soap; locker; tractor; stretcher; frame; grating; alembic; candle,
taper, wax light; barrier; cardboard; cave; puddle; tarp; price tag; watchtower; meters; light bulb, lightbulb, bulb,
incandescent lamp, electric light, electric-light bulb; tracks; hair dryer; skirt; viaduct; paper towel; coat; sheet;
fire extinguisher, extinguisher, asphyxiator; water wheel; pottery, clayware; magazine rack; teapot; microphone, mike;
support; forklift; canyon; cash register, register; leaf, leafage, foliage; remote control, remote; soap dish;
windshield, windscreen; cat; cue, cue stick, pool cue, pool stick; vent, venthole, vent-hole, blowhole; videos;
shovel; eaves; antenna, aerial, transmitting aerial; shipyard; hen, biddy; traffic cone; washing machines; truck
crane; cds; niche; scoreboard; briefcase; boot; sweater, jumper; hay; pack; bottle rack; glacier; pergola; building
materials; television camera; first floor; rifle; tennis table; stadium; safety belt; cover; dish rack; synthesizer;
pumpkin; gutter; fruit stand; ice floe, floe; handle, grip, handgrip, hold; wheelchair; mousepad, mouse mat; diploma;
fairground ride; radio; hotplate; junk; wheelbarrow; stream; toll plaza; punching bag; trough; throne; chair desk;
weighbridge; extractor fan; hanging clothes; dish, dish aerial, dish antenna, saucer; alarm clock, alarm; ski lift;
chain; garage; mechanical shovel; wine rack; tramway; treadmill; menu; block; well; witness stand; branch; duck;
casserole; frying pan; desk organizer; mast; spectacles, specs, eyeglasses, glasses; service elevator; dollhouse;
hammock; clothes hanging; photocopier; notepad; golf cart; footpath; cross; baptismal font; boiler; skip; rotisserie;
tables; water mill; helmet; cover curtain; brick; table runner; ashtray; street box; stick; hangers; cells; urinal;
centerpiece; portable fridge; dvds; golf club; skirting board; water cooler; clipboard; camera, photographic camera;
pigeonhole; chips; food processor; post box; lid; drum; blender; cave entrance; dental chair; obelisk; canoe; mobile;
monitors; pool ball; cue rack; baggage carts; shore; fork; paper filer; bicycle rack; coat rack; garland; sports bag;
fish tank; towel dispenser; carriage; brochure; plaque; stringer; iron; spoon; flag pole; toilet brush; book stand;
water faucet, water tap, tap, hydrant; ticket office; broom; dvd; ice bucket; carapace, shell, cuticle, shield;
tureen; folders; chess; root; sewing machine; model; pen; violin; sweatshirt; recycling materials; mitten; chopping
board, cutting board; mask; log; mouse, computer mouse; grill; hole; target; trash bag; chalk; sticks; balloon; score;
hair spray; roll; runner; engine; inflatable glove; games; pallets; baskets; coop; dvd player; rocking horse; buckets;
bread rolls; shawl; watering can; spotlights; post-it; bowls; security camera; runner cloth; lock; alarm, warning
device, alarm system; side; roulette; bone; cutlery; pool balls; wheels; spice rack; plant pots; towel ring; bread
box; video; funfair; breads; tripod; ironing board; skimmer; hollow; scratching post; tricycle; file box; mountain
pass; tombstones; cooker; card game, cards; golf bag; towel paper; chaise lounge; sun; toilet paper holder; rake; key;
umbrella stand; dartboard; transformer; fireplace utensils; sweatshirts; cellular telephone, cellular phone,
cellphone, cell, mobile phone; tallboy; stapler; sauna; test tube; palette; shopping carts; tools; push button, push,
button; star; roof rack; barbed wire; spray; ear; sponge; racket; tins; eyeglasses; file; scarfs; sugar bowl; flip
flop; headstones; laptop bag; leash; climbing frame; suit hanger; floor spotlight; plate rack; sewer; hard drive;
sprinkler; tools box; necklace; bulbs; steel industry; club; jack; door bars; control panel, instrument panel, control
board, board, panel; hairbrush; napkin holder; office; smoke detector; utensils; apron; scissors; terminal; grinder;
entry phone; newspaper stand; pepper shaker; onions; central processing unit, cpu, c p u , central processor,
processor, mainframe; tape; bat; coaster; calculator; potatoes; luggage rack; salt; street number; viewpoint; sword;
cd; rowing machine; plug; andiron, firedog, dog, dog-iron; pepper; tongs; bonfire; dog dish; belt; dumbbells;
videocassette recorder, vcr; hook; envelopes; shower faucet; watch; padlock; swimming pool ladder; spanners; gravy
boat; notice board; trash bags; fire alarm; ladle; stethoscope; rocket; funnel; bowling pins; valve; thermometer;
cups; spice jar; night light; soaps; games table; slotted spoon; reel; scourer; sleeping robe; desk mat; dumbbell;
hammer; tie; typewriter; shaker; cheese dish; sea star; racquet; butane gas cylinder; paper weight; shaving brush;
sunglasses; gear shift; towel rail; adding machine, totalizer, totaliser
"""
)

# Pascal VOC: background and 20 classes.
PASCAL_VOC = _split_names(
    """
background; aeroplane; bicycle; bird; boat; bottle; bus; car; cat; chair; cow; diningtable; dog; horse; motorbike;
person; pottedplant; sheep; sofa; train; tvmonitor
"""
)

# Pascal Context: the 59 frequent classes in the order of their ids among all 459, which is alphabetical.
PASCAL_CONTEXT_59 = _split_names(
    """
aeroplane; bag; bed; bedclothes; bench; bicycle; bird; boat; book; bottle; building; bus; cabinet; car; cat; ceiling;
chair; cloth; computer; cow; cup; curtain; dog; door; fence; floor; flower; food; grass; ground; horse; keyboard;
light; motorbike; mountain; mouse; person; plate; platform; pottedplant; road; rock; sheep; shelves; sidewalk; sign;
sky; snow; sofa; table; track; train; tree; truck; tvmonitor; wall; water; window; wood
"""
)
# Their ids in the LabelMap of the original annotation.
# fmt: off
PASCAL_CONTEXT_59_IDS = [
    2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158,
    159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366,
    368, 397, 415, 416, 420, 424, 427, 440, 445, 454, 458,
]
# fmt: on

# CamVid, the 11 classes of the SegNet split; 11 is void.
CAMVID = _split_names(
    """
Sky; Building; Pole; Road; Pavement; Tree; SignSymbol; Fence; Car; Pedestrian; Bicyclist
"""
)

# Mapillary Vistas 1.2, the 65 evaluated classes, 37 of them things.
MAPILLARY_VISTAS = _split_names(
    """
Bird; Ground Animal; Curb; Fence; Guard Rail; Barrier; Wall; Bike Lane; Crosswalk - Plain; Curb Cut; Parking; Pedestrian
Area; Rail Track; Road; Service Lane; Sidewalk; Bridge; Building; Tunnel; Person; Bicyclist; Motorcyclist; Other Rider;
Lane Marking - Crosswalk; Lane Marking - General; Mountain; Sand; Sky; Snow; Terrain; Vegetation; Water; Banner; Bench;
Bike Rack; Billboard; Catch Basin; CCTV Camera; Fire Hydrant; Junction Box; Mailbox; Manhole; Phone Booth; Pothole;
Street Light; Pole; Traffic Sign Frame; Utility Pole; Traffic Light; Traffic Sign (Back); Traffic Sign (Front); Trash
Can; Bicycle; Boat; Bus; Car; Caravan; Motorcycle; On Rails; Other Vehicle; Trailer; Truck; Wheeled Slow; Car Mount; Ego
Vehicle
"""
)
MAPILLARY_VISTAS_STUFF = [*range(2, 8), *range(9, 19), *range(24, 32), 43, 58, 63, 64]


def known_labels(num_labels: int) -> tuple[dict[int, str], list[int] | None]:
    """Guesses the label set of a checkpoint from its size.

    Args:
        num_labels: Classes, without "no object".

    Returns:
        `id2label` and the ids of stuff classes: those of COCO panoptic for 133 classes and of Cityscapes for 19, else
        `LABEL_0`, `LABEL_1`, ... and None.
    """
    if num_labels == len(COCO_PANOPTIC):
        return dict(enumerate(COCO_PANOPTIC)), list(range(COCO_PANOPTIC_THINGS, num_labels))
    if num_labels == len(CITYSCAPES):
        return dict(enumerate(CITYSCAPES)), list(CITYSCAPES_STUFF)
    return {index: f"LABEL_{index}" for index in range(num_labels)}, None
